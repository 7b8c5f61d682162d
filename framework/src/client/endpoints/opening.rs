//! How a connection to a node is begun, which start of the node it belongs to, and when none is begun any more.

use std::{
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use micro_registry::{Node, ServiceName};
use tokio::{task::AbortHandle, time::Instant};
use tracing::{Instrument as _, field::Empty, info_span, warn};

use super::super::{
    connection::{Connection, Driver, Plan},
    dialer::Dialer,
    endpoint::Endpoint,
    keepalive::Keepalive,
    meter::connect_failure,
    room::Room,
    settings::Settings,
    spot::Lease,
    times::FAR,
};

/// Nodes that another program announced may end connections that ping more often than this (gRFC A8).
const FOREIGN_KEEPALIVE: Duration = Duration::from_secs(300);

/// Which start of which node a connection belongs to.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) node: Arc<Node>,
}

impl Key {
    /// Whether `endpoint` is still the same start of the same node.
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        endpoint.node.boot() == self.node.boot() && endpoint.node.address() == self.node.address()
    }
}

/// A connect that ends with this.
#[derive(Debug)]
pub(in super::super) struct Attempt(pub(super) AbortHandle);

impl Drop for Attempt {
    fn drop(&mut self) {
        // Does nothing to one that has ended.
        self.0.abort();
    }
}

/// Connects, within a span; a connector that panics, which the panic hook reports, is one that failed.
pub(super) async fn open(id: u64, plan: Plan) -> io::Result<(Connection, Driver)> {
    let node = &plan.node;
    let span = info_span!(
        parent: None,
        "connect",
        otel.status_code = Empty,
        error.type = Empty,
        micro.service = node.service().as_str(),
        micro.node.id = node.id(),
        // As the registry has it: an address, or a name.
        server.address = %node.address().host(),
        server.port = node.address().port(),
    );
    let result = AssertUnwindSafe(Connection::open(id, plan))
        .catch_unwind()
        .instrument(span.clone())
        .await
        .unwrap_or_else(|_panic| Err(io::Error::other("the connector panicked")));
    if let Err(error) = &result {
        span.record("error.type", connect_failure(error));
        span.record("otel.status_code", "ERROR");
    }
    result
}

pub(super) fn plan(
    settings: &Settings,
    dialer: &Dialer,
    node: &Arc<Node>,
    streams: Arc<Lease>,
    room: Arc<Room>,
) -> Plan {
    let ours = !node.boot().is_empty();
    let interval = if ours {
        settings.keepalive_interval
    } else {
        settings.keepalive_interval.max(FOREIGN_KEEPALIVE)
    };
    Plan {
        dialer: dialer.clone(),
        node: Arc::clone(node),
        timeout: settings.connect_timeout,
        keepalive: Keepalive {
            interval: interval.min(FAR),
            timeout: settings.keepalive_timeout.min(FAR),
            while_idle: ours,
        },
        stream_window: settings.stream_window,
        streams,
        room,
    }
}

/// Leaves a server alone that calls have found to be another service.
pub(super) fn drop_refused(service: &ServiceName, endpoint: &mut Endpoint, now: Instant) {
    if endpoint.flags.refused.swap(false, Ordering::Relaxed) {
        let (node, address) = (endpoint.node.id(), endpoint.node.address());
        warn!(%service, node, %address, "the server there is another service");
        endpoint.set_last_error("the server there is another service", now);
        endpoint.refused(now);
    }
}
