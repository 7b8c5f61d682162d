//! Who answered a call.

use std::{fmt, sync::Arc};

use http::{HeaderName, HeaderValue};
use micro_registry::{Address, Node};

/// The metadata key under which a refused call's status names the node it came from.
pub(super) const NODE_HEADER: HeaderName = HeaderName::from_static("micro-node");

/// The node that answered a call: an extension of every response.
///
/// A status that a node answered carries the node's id in its metadata, under `micro-node`.
///
/// ```
/// # fn show(response: tonic::Response<()>) {
/// if let Some(peer) = response.extensions().get::<micro::Peer>() {
///     println!("answered by {} at {}", peer.node_id(), peer.address());
/// }
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    node: Arc<Node>,
}

impl Peer {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.node.service().as_str()
    }

    /// The id of the node.
    #[must_use]
    pub fn node_id(&self) -> &str {
        self.node.id()
    }

    /// Where the node was called.
    #[must_use]
    pub fn address(&self) -> &Address {
        self.node.address()
    }

    /// The whole record of the node.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node's id as a header; `None` for an id outside visible ASCII, which no header can carry.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.node.id()).ok()
    }
}

/// As errors name it: `` `greeter-1` of `greeter` at 127.0.0.1:9090 ``.
impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` of `{}` at {}",
            self.node_id(),
            self.service(),
            self.address()
        )
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}
