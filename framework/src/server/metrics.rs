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
