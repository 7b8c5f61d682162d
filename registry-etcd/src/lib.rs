//! The etcd backend: nodes are keys under leases, which Go Micro's programs read and write as well.
//!
//! Each node is a key of its own below `/micro/registry/`, unless the builder says otherwise, and goes with its lease.
//! Services are listed and followed by that prefix. What other programs wrote there is a node, too; only what passes its
//! checks is listed.

mod announcer;
mod builder;
mod catalogue;
mod connection;
mod credentials;
mod error;
mod follower;
// The decoders are private, and only a fuzzer calls them from outside: see `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod keys;
mod nodes;
mod record;
mod server;
mod tls;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use micro_registry::{Node, Registry, Result, Snapshot, Watcher};

pub use crate::builder::Builder;
use crate::{announcer::Announcer, catalogue::Catalogue, connection::Connection, keys::Keys};

const NAME: &str = "etcd";

/// The registry in etcd.
///
/// The constructor touches no network; the first call connects. A handle has one connection, to one server at a time.
///
/// ```no_run
/// use std::time::Duration;
/// use micro_registry::{Node, Registry};
/// use micro_registry_etcd::Etcd;
///
/// # async fn example() -> micro_registry::Result<()> {
/// let registry = Etcd::builder().address("127.0.0.1:2379").build()?;
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert_eq!(registry.get_service("greeter").await?.len(), 1);
/// registry.deregister(&node).await?;
/// # Ok(())
/// # }
/// ```
pub struct Etcd {
    connection: Arc<Connection>,
    announcer: Announcer,
    catalogue: Arc<Catalogue>,
}

impl Etcd {
    /// Starts with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(connection: Connection, keys: Keys) -> Self {
        let connection = Arc::new(connection);
        Self {
            announcer: Announcer::new(Arc::clone(&connection), keys.clone()),
            catalogue: Arc::new(Catalogue::new(Arc::clone(&connection), keys)),
            connection,
        }
    }
}

#[async_trait]
impl Registry for Etcd {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.announcer.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.announcer.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.catalogue.nodes(service.parse()?).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.catalogue.services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        Ok(self.catalogue.follow(&service.parse()?))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// The servers, and no secret.
impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("connection", &self.connection)
            .field("catalogue", &self.catalogue)
            .finish_non_exhaustive()
    }
}
