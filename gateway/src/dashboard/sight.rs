//! What the dashboard shows of a service and its nodes, as the page gets it.

use std::collections::BTreeMap;

use micro::{
    EndpointStatus, ServiceStatus,
    registry::{Node, Snapshot},
};
use serde::Serialize;
use tokio::time::{Duration, Instant};

/// How many nodes of a service are shown.
const NODES_MAX: usize = 200;

/// All that is shown at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sight {
    pub(super) version: &'static str,
    pub(super) registry: &'static str,
    /// Why the registry does not say at present which services there are.
    pub(super) registry_error: Option<String>,
    pub(super) services: Vec<Service>,
    /// How many services are not shown, as there are too many.
    pub(super) left_out: usize,
}

impl Sight {
    /// Whether it shows the same, be it later.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.registry_error == other.registry_error
            && self.left_out == other.left_out
            && self.services == other.services
    }
}

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service {
    pub(super) name: String,
    /// Whether methods of it can be called through the gateway; of other services it is known only what the registry says.
    pub(super) exported: bool,
    /// Why nothing is known, or why nothing new is.
    pub(super) error: Option<String>,
    /// When the registry said which nodes there are.
    #[serde(rename = "ageMs", serialize_with = "age")]
    pub(super) told: Option<Told>,
    pub(super) nodes: Vec<Seen>,
    /// How many nodes are not shown, as there are too many.
    pub(super) left_out: usize,
}

/// A moment; one is as good as another when sights are compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told(pub(super) Instant);

impl PartialEq for Told {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Seen {
    id: String,
    version: String,
    address: String,
    /// That of the client; `listed` where the gateway does not call the service.
    state: &'static str,
    held: bool,
    connections: usize,
    in_flight: u32,
    latency_us: u64,
    ejected_for_ms: u64,
    last_error: Option<String>,
    metadata: BTreeMap<String, String>,
}

impl Service {
    /// A service of which nothing is known yet.
    pub(super) fn new(name: &str, exported: bool) -> Self {
        Self {
            name: name.to_owned(),
            exported,
            ..Self::default()
        }
    }

    /// As the gateway's client sees it.
    pub(super) fn of_client(name: &str, status: &ServiceStatus) -> Self {
        let told = Instant::now().checked_sub(status.snapshot_age);
        Self {
            error: status.registry_error.as_deref().map(str::to_owned),
            told: told.map(Told),
            nodes: status
                .endpoints
                .iter()
                .take(NODES_MAX)
                .map(Seen::of_client)
                .collect(),
            left_out: status.endpoints.len().saturating_sub(NODES_MAX),
            ..Self::new(name, true)
        }
    }

    /// As the registry lists it.
    pub(super) fn of_registry(name: &str, snapshot: &Snapshot) -> Self {
        let nodes = snapshot.nodes().iter().take(NODES_MAX);
        Self {
            told: Some(Told(Instant::now())),
            nodes: nodes.map(|node| Seen::listed(node)).collect(),
            left_out: snapshot.len().saturating_sub(NODES_MAX),
            ..Self::new(name, false)
        }
    }
}

impl Seen {
    fn listed(node: &Node) -> Self {
        Self {
            id: node.id().to_owned(),
            version: node.version().to_owned(),
            address: node.address().to_string(),
            state: "listed",
            held: false,
            connections: 0,
            in_flight: 0,
            latency_us: 0,
            ejected_for_ms: 0,
            last_error: None,
            metadata: node.metadata().clone(),
        }
    }

    fn of_client(endpoint: &EndpointStatus) -> Self {
        Self {
            state: endpoint.state.name(),
            held: endpoint.held,
            connections: endpoint.connections,
            in_flight: endpoint.in_flight,
            latency_us: whole(endpoint.latency.as_micros()),
            ejected_for_ms: whole(endpoint.ejected_for.as_millis()),
            last_error: endpoint.last_error.as_deref().map(str::to_owned),
            ..Self::listed(&endpoint.node)
        }
    }
}

fn age<S: serde::Serializer>(told: &Option<Told>, serializer: S) -> Result<S::Ok, S::Error> {
    let age: Option<Duration> = told.map(|told| told.0.elapsed());
    age.map(|age| whole(age.as_millis())).serialize(serializer)
}

fn whole(number: u128) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
