//! One instance of a service, as it stands in a registry.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Address, Error, Method, Result, ServiceName};

/// The metadata key under which backends store [`Node::boot`].
pub const BOOT_KEY: &str = "micro-boot";

/// The longest node id in bytes: a Consul service id and an etcd key part have room for it.
const ID_LENGTH_MAX: usize = 255;
/// The longest version in bytes.
const VERSION_LENGTH_MAX: usize = 128;
/// The most metadata pairs of a node. Backends may have a lower limit and say so.
const METADATA_PAIRS_MAX: usize = 256;
/// The longest metadata key in bytes.
const METADATA_KEY_LENGTH_MAX: usize = 128;
/// The longest metadata value in bytes.
const METADATA_VALUE_LENGTH_MAX: usize = 4096;
/// The most methods of a node.
const METHODS_MAX: usize = 4096;

/// One instance of a service: who it is and where it can be called.
///
/// Built by [`Node::builder`], which does every check, also for what another program wrote. A `Node` never changes;
/// cloning is cheap enough for the control plane, and snapshots share nodes behind `Arc`.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    service: ServiceName,
    id: String,
    version: String,
    address: Address,
    boot: String,
    metadata: BTreeMap<String, String>,
    methods: Arc<[Method]>,
}

impl Node {
    /// Starts a node with what every node has.
    pub fn builder(service: ServiceName, id: impl Into<String>, address: Address) -> NodeBuilder {
        NodeBuilder {
            node: Self {
                service,
                id: id.into(),
                version: String::new(),
                address,
                boot: String::new(),
                metadata: BTreeMap::new(),
                methods: Arc::new([]),
            },
        }
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

/// Collects the parts of a [`Node`]; [`build`](Self::build) does every check.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder {
    node: Node,
}

impl NodeBuilder {
    /// Sets the version of the service. Default: empty.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.node.version = version.into();
        self
    }

    /// Sets what tells this start of the process from others. Default: empty, as in records of other programs.
    pub fn boot(mut self, boot: impl Into<String>) -> Self {
        self.node.boot = boot.into();
        self
    }

    /// Adds one pair of metadata; [`BOOT_KEY`] sets [`Node::boot`]. The last of two with one key stands.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        if key == BOOT_KEY {
            return self.boot(value);
        }
        self.node.metadata.insert(key, value.into());
        self
    }

    /// Sets the methods. Default: none.
    pub fn methods(mut self, methods: impl Into<Arc<[Method]>>) -> Self {
        self.node.methods = methods.into();
        self
    }

    /// The node, checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for an id that is empty, longer than 255
    /// bytes, or has spaces or control characters; a version above 128 bytes; more than 256 pairs of metadata; a key
    /// that is empty, above 128 bytes or has control characters; a value above 4096 bytes or with a NUL; more than
    /// 4096 methods.
    pub fn build(self) -> Result<Node> {
        let node = self.node;
        check_id(&node.id)?;
        check_text("version", &node.version, VERSION_LENGTH_MAX, &node.id)?;
        check_text("boot", &node.boot, ID_LENGTH_MAX, &node.id)?;
        if node.metadata.len() > METADATA_PAIRS_MAX {
            let found = node.metadata.len();
            return Err(refuse(
                &node.id,
                &format!("has {found} pairs of metadata; allowed are {METADATA_PAIRS_MAX}"),
            ));
        }
        for (key, value) in &node.metadata {
            if key.is_empty() {
                return Err(refuse(&node.id, "has an empty metadata key"));
            }
            check_text("a metadata key", key, METADATA_KEY_LENGTH_MAX, &node.id)?;
            if value.len() > METADATA_VALUE_LENGTH_MAX || value.contains('\0') {
                let reason = format!(
                    "has metadata `{key}` with a value of {} bytes; allowed are {METADATA_VALUE_LENGTH_MAX} without NUL",
                    value.len()
                );
                return Err(refuse(&node.id, &reason));
            }
        }
        if node.methods.len() > METHODS_MAX {
            let found = node.methods.len();
            return Err(refuse(
                &node.id,
                &format!("has {found} methods; allowed are {METHODS_MAX}"),
            ));
        }
        Ok(node)
    }
}

fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(refuse(id, "is empty"));
    }
    if id.len() > ID_LENGTH_MAX {
        return Err(refuse(
            id,
            &format!("has {} bytes; allowed are {ID_LENGTH_MAX}", id.len()),
        ));
    }
    if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(refuse(id, "has a space or control character"));
    }
    Ok(())
}

fn check_text(what: &str, text: &str, length_max: usize, id: &str) -> Result<()> {
    if text.len() > length_max {
        return Err(refuse(
            id,
            &format!("has {what} of {} bytes; allowed are {length_max}", text.len()),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(refuse(id, &format!("has {what} with a control character")));
    }
    Ok(())
}

fn refuse(id: &str, reason: &str) -> Error {
    let shown: String = id.chars().take(100).collect();
    Error::invalid(format!("node id {shown:?} {reason}"))
}
