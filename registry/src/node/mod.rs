//! One instance of a service, as it stands in a registry.

mod builder;

use std::{collections::BTreeMap, fmt, iter, sync::Arc};

pub use self::builder::NodeBuilder;
use crate::{Address, Host, Method, ServiceName};

/// The metadata key under which backends store [`Node::boot`].
pub const BOOT_KEY: &str = "micro-boot";

/// The metadata key of a node that is to be called over TLS; the value is `true`.
pub const TLS_KEY: &str = "micro-tls";

/// One instance of a service: who it is and where it can be called.
///
/// Built by [`Node::builder`], which does every check, also for what another program wrote. A `Node` never changes;
/// cloning is cheap enough for the control plane, and snapshots share nodes behind `Arc`. `Debug` shows the keys of the
/// metadata, not the values: what a user puts there is not the logs' business.
///
/// ```
/// use micro_registry::Node;
///
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?)
///     .version("1.2.0")
///     .metadata("zone", "a")
///     .build()?;
/// assert_eq!(node.metadata().get("zone").map(String::as_str), Some("a"));
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Node {
    service: ServiceName,
    id: String,
    version: String,
    address: Address,
    origin: Option<Host>,
    boot: String,
    metadata: BTreeMap<String, String>,
    methods: Arc<[Method]>,
}

impl Node {
    /// Starts a node with what every node has.
    pub fn builder(service: ServiceName, id: impl Into<String>, address: Address) -> NodeBuilder {
        NodeBuilder::new(Self {
            service,
            id: id.into(),
            version: String::new(),
            address,
            origin: None,
            boot: String::new(),
            metadata: BTreeMap::new(),
            methods: Arc::new([]),
        })
    }

    /// The service this node is an instance of.
    #[must_use]
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// The id, unique among the nodes of the service.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The version of the service; empty when nobody said.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Where the node can be called.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The host on which the registry holds the record, where it tells so and the address means something else on each
    /// host: it is loopback, or a name. No record has it: a backend learns it from the registry itself.
    #[must_use]
    pub fn origin(&self) -> Option<&Host> {
        self.origin.as_ref()
    }

    /// Random per start of the process, stored as metadata [`BOOT_KEY`]; empty when another program wrote the record.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// What else is known of the node, without [`BOOT_KEY`].
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Whether the node says that it is to be called over TLS, by [`TLS_KEY`] in its metadata.
    #[must_use]
    pub fn wants_tls(&self) -> bool {
        self.metadata.get(TLS_KEY).is_some_and(|value| value == "true")
    }

    /// The pairs as a record holds them: the metadata, and [`BOOT_KEY`] unless [`boot`](Self::boot) is empty.
    ///
    /// [`NodeBuilder::metadata`] takes them back one by one.
    pub fn stored_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let boot = iter::once((BOOT_KEY, self.boot.as_str())).filter(|(_, boot)| !boot.is_empty());
        let pairs = self.metadata.iter();
        boot.chain(pairs.map(|(key, value)| (key.as_str(), value.as_str())))
    }

    /// The methods; empty where the backend has no room for them or another program did not write them.
    #[must_use]
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The same node without its methods, for a backend that has no room for them.
    #[must_use]
    pub fn without_methods(mut self) -> Self {
        self.methods = Arc::new([]);
        self
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("service", &self.service)
            .field("id", &self.id)
            .field("version", &self.version)
            .field("address", &self.address)
            .field("origin", &self.origin)
            .field("boot", &self.boot)
            .field("metadata", &self.metadata.keys())
            .field("methods", &self.methods.len())
            .finish_non_exhaustive()
    }
}
