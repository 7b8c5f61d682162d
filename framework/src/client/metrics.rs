//! What a client tells of itself: the names of it all, apart from how long calls take.

use metrics::Unit;

use crate::telemetry::Metric;

pub(super) const ATTEMPTS: Metric = Metric {
    name: "micro.client.attempts",
    unit: Unit::Count,
    help: "Times a call was sent to a node, by what made it so: the call itself, or why it was sent once more.",
};

pub(super) const BUDGET_EXHAUSTED: Metric = Metric {
    name: "micro.client.budget_exhausted",
    unit: Unit::Count,
    help: "Times a call was not sent once more because too many were.",
};

pub(super) const WAITS: Metric = Metric {
    name: "micro.client.waits",
    unit: Unit::Count,
    help: "Times a call found no node to be sent to at once, by what came of it.",
};

pub(super) const EJECTIONS: Metric = Metric {
    name: "micro.client.ejections",
    unit: Unit::Count,
    help: "Times a node was left out for a while because calls in a row failed.",
};

pub(super) const OPENED_CONNECTIONS: Metric = Metric {
    name: "micro.client.opened_connections",
    unit: Unit::Count,
    help: "Connections made to nodes.",
};

pub(super) const FAILED_CONNECTIONS: Metric = Metric {
    name: "micro.client.failed_connections",
    unit: Unit::Count,
    help: "Connections that could not be made, by reason.",
};

pub(super) const OPEN_CONNECTIONS: Metric = Metric {
    name: "micro.client.open_connections",
    unit: Unit::Count,
    help: "Connections that take calls at the moment.",
};

pub(super) const KNOWN_NODES: Metric = Metric {
    name: "micro.client.known_nodes",
    unit: Unit::Count,
    help: "Nodes that the registry listed last.",
};

pub(super) const READY_NODES: Metric = Metric {
    name: "micro.client.ready_nodes",
    unit: Unit::Count,
    help: "Nodes with a connection that takes calls.",
};

pub(super) const LEFT_OUT_NODES: Metric = Metric {
    name: "micro.client.left_out_nodes",
    unit: Unit::Count,
    help: "Ready nodes that are left out, because calls in a row failed or they say that they do not serve.",
};

pub(super) const HELD_NODES: Metric = Metric {
    name: "micro.client.held_nodes",
    unit: Unit::Count,
    help: "Ready nodes that the registry lists no longer, kept because it lost most at once.",
};

pub(super) const SNAPSHOT_AGE: Metric = Metric {
    name: "micro.client.snapshot_age",
    unit: Unit::Seconds,
    help: "Time since the registry said last which nodes there are.",
};

pub(super) const DISCOVERY_FAILING: Metric = Metric {
    name: "micro.client.discovery_failing",
    unit: Unit::Count,
    help: "1 while the registry does not answer and the last nodes it listed stay in use, else 0.",
};
