//! What a client knows of the nodes of a service, to show it.

use std::{sync::Arc, time::Duration};

use micro_registry::Node;

/// A node as a channel sees it: see [`Channel::endpoints`](crate::Channel::endpoints).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The node, as the registry has it.
    pub node: Arc<Node>,
    /// What can be said of connections to it.
    pub state: EndpointState,
    /// Whether the registry no longer lists it, while its connection still lives.
    pub held: bool,
    /// How many connections take calls.
    pub connections: usize,
    /// How many calls it has of this client.
    pub in_flight: u32,
    /// How long it takes to answer: a slow answer counts at once, faster ones by and by. Zero until it has answered.
    pub latency: Duration,
    /// How long it is left out of the picks; zero while it is not.
    pub ejected_for: Duration,
    /// The last failure of a connection to it or of a call, with the call's status, or what made it be left out; `None`
    /// when nothing failed in the last ten minutes.
    pub last_error: Option<Arc<str>>,
    /// How long ago that was; zero without one.
    pub last_error_age: Duration,
}

/// A service as a channel sees it: see [`Channel::status`](crate::Channel::status).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its nodes, sorted by id.
    pub endpoints: Vec<EndpointStatus>,
    /// How long ago the registry said which nodes there are; grows while nothing changes.
    pub snapshot_age: Duration,
    /// Why the registry says nothing at present, while what it said last stays in use.
    pub registry_error: Option<Arc<str>>,
}

/// What can be said of the connections to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointState {
    /// None is wanted: others are enough.
    Idle,
    /// One is being made.
    Connecting,
    /// Calls can be sent.
    Ready,
    /// The last one failed, and the next is made after a while.
    Backoff,
    /// Its health says that it does not serve at present: it is left out of the picks, unless most nodes are.
    NotServing,
    /// Calls in a row failed: it is left out of the picks, unless most nodes are.
    Ejected,
}

impl EndpointState {
    /// The name in lower case, such as `ready`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Connecting => "connecting",
            Self::Ready => "ready",
            Self::Backoff => "backoff",
            Self::NotServing => "not_serving",
            Self::Ejected => "ejected",
        }
    }
}
