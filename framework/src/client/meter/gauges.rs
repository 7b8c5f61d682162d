//! How many nodes and connections a service has at the moment, set when somebody looks.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use metrics::Gauge;
use micro_registry::Snapshot;
use tokio::time::Instant;

use super::super::{
    metrics::{
        DISCOVERY_FAILING, HELD_NODES, KNOWN_NODES, LEFT_OUT_NODES, OPEN_CONNECTIONS, READY_NODES,
        SNAPSHOT_AGE,
    },
    picker::Picker,
    target::Shared,
};
use crate::telemetry::Telemetry;

/// What is set when somebody looks.
pub(super) struct Gauges {
    known_nodes: Gauge,
    ready_nodes: Gauge,
    left_out_nodes: Gauge,
    held_nodes: Gauge,
    open_connections: Gauge,
    snapshot_age: Gauge,
    discovery_failing: Gauge,
    /// When the registry spoke last, and whether it fails since.
    heard: Mutex<(Option<Instant>, bool)>,
    watched: Mutex<Vec<Weak<Shared>>>,
}

impl Gauges {
    pub(super) fn new(telemetry: &Telemetry, service: &str, registry: &str) -> Self {
        let gauge = |metric| telemetry.gauge(metric, &[("micro.service", service)]);
        let of_registry = |metric| {
            telemetry.gauge(
                metric,
                &[("micro.service", service), ("micro.registry", registry)],
            )
        };
        Self {
            known_nodes: gauge(KNOWN_NODES),
            ready_nodes: gauge(READY_NODES),
            left_out_nodes: gauge(LEFT_OUT_NODES),
            held_nodes: gauge(HELD_NODES),
            open_connections: gauge(OPEN_CONNECTIONS),
            snapshot_age: of_registry(SNAPSHOT_AGE),
            discovery_failing: of_registry(DISCOVERY_FAILING),
            heard: Mutex::default(),
            watched: Mutex::default(),
        }
    }

    pub(super) fn discovered(&self, failing: bool) {
        let mut heard = self.heard.lock().expect("no panic while it is locked");
        heard.1 = failing;
        if !failing {
            heard.0 = Some(Instant::now());
        }
    }

    pub(super) fn watch(&self, shared: &Arc<Shared>) {
        let mut watched = self.watched.lock().expect("no panic while the list is locked");
        watched.retain(|shared| shared.strong_count() > 0);
        watched.push(Arc::downgrade(shared));
    }

    pub(super) fn observe(&self) {
        let watched = self.watched.lock().expect("no panic while the list is locked");
        let shared: Vec<_> = watched.iter().filter_map(Weak::upgrade).collect();
        drop(watched);
        let (spoke, failing) = *self.heard.lock().expect("no panic while it is locked");
        let age = spoke.filter(|_| !shared.is_empty()).map(|at| at.elapsed());
        self.snapshot_age
            .set(age.as_ref().map_or(0.0, Duration::as_secs_f64));
        self.discovery_failing
            .set(f64::from(u8::from(failing && !shared.is_empty())));
        let mut seen = Seen::default();
        shared.iter().for_each(|shared| seen.add(&shared.picker()));
        for (gauge, number) in [
            (&self.known_nodes, seen.known),
            (&self.ready_nodes, seen.ready),
            (&self.left_out_nodes, seen.left_out),
            (&self.held_nodes, seen.held),
            (&self.open_connections, seen.connections),
        ] {
            gauge.set(number as f64);
        }
    }
}

impl fmt::Debug for Gauges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gauges").finish_non_exhaustive()
    }
}

/// What there is to pick from.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    known: usize,
    ready: usize,
    left_out: usize,
    held: usize,
    connections: usize,
}

impl Seen {
    fn add(&mut self, picker: &Picker) {
        let snapshot = picker.known.snapshot.as_ref();
        self.known += snapshot.map_or(0, Snapshot::len);
        self.ready += picker.ready.len();
        for node in picker.ready.iter() {
            self.left_out += usize::from(node.ejected);
            let is_listed = snapshot.is_some_and(|snapshot| snapshot.get(node.peer.node_id()).is_some());
            self.held += usize::from(!is_listed);
            self.connections += node.connections.len();
        }
    }
}
