//! What the server tells of itself besides its calls.

use metrics::Unit;

use crate::telemetry::Metric;

pub(super) const ACTIVE_CALLS: Metric = Metric {
    name: "micro.server.active_calls",
    unit: Unit::Count,
    help: "Calls in flight, without those of health and reflection.",
};

pub(super) const OPEN_CONNECTIONS: Metric = Metric {
    name: "micro.server.open_connections",
    unit: Unit::Count,
    help: "Connections at the moment.",
};

pub(super) const CALLS_LIMIT: Metric = Metric {
    name: "micro.server.calls_limit",
    unit: Unit::Count,
    help: "Calls that may be in flight at the moment.",
};

pub(super) const REFUSED_CALLS: Metric = Metric {
    name: "micro.server.refused_calls",
    unit: Unit::Count,
    help: "Calls refused because too many were in flight.",
};

pub(super) const REFUSED_CONNECTIONS: Metric = Metric {
    name: "micro.server.refused_connections",
    unit: Unit::Count,
    help: "Connections closed at once, by reason: too many in all, from one address, or for the system's files, or a failed handshake of TLS.",
};
