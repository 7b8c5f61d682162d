//! The Consul backend: nodes are services of Consul's agents, which Go Micro's programs read and write as well.
//!
//! Nodes are registered at one agent, `127.0.0.1:8500` unless the builder says otherwise, and held by a check there.
//! They are looked for in the catalogue, and followed by blocking queries. What other programs registered in Consul is
//! a node, too; only what passes its checks is listed.

mod agent;
mod announcer;
mod builder;
mod catalogue;
mod check;
mod decoder;
mod follower;
// The decoders are private, and only a fuzzer calls them from outside: see `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod http;
mod record;
mod tls;
mod token;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use micro_registry::{Kept, Node, Registry, Result, ServiceName, Snapshot, Watcher};

use crate::{
    agent::Agent,
    announcer::Announcer,
    catalogue::Catalogue,
    decoder::Decoder,
    follower::{Follower, Source as _},
};
pub use crate::{builder::Builder, check::Check};

const NAME: &str = "consul";

/// The registry in Consul.
///
/// The constructor touches no network; the first call connects. A handle takes at most 76 of the 200 connections that
/// an agent allows one address.
///
/// ```no_run
/// use std::time::Duration;
/// use micro_registry::{Node, Registry};
/// use micro_registry_consul::Consul;
///
/// # async fn example() -> micro_registry::Result<()> {
/// let registry = Consul::builder().address("127.0.0.1:8500").build()?;
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert_eq!(registry.get_service("greeter").await?.len(), 1);
/// registry.deregister(&node).await?;
/// # Ok(())
/// # }
/// ```
pub struct Consul {
    agents: Arc<[Agent]>,
    announcer: Announcer,
    catalogue: Arc<Catalogue>,
    decoders: Arc<Kept<Decoder>>,
}

impl Consul {
    /// Starts with the defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

#[async_trait]
impl Registry for Consul {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.announcer.register(node, ttl, &self.catalogue).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.announcer.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        let service: ServiceName = service.parse()?;
        let listing = self.catalogue.list(&service, &mut Decoder::default()).await?;
        Ok(listing.snapshot)
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.catalogue.services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let service: ServiceName = service.parse()?;
        let decoder = self.decoders.lend(&service, Decoder::default);
        let follower = Follower::new(Arc::clone(&self.catalogue), service, decoder);
        Ok(Watcher::spawn(|sender| follower.follow(sender)))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// The agents, and no secret.
impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("agents", &self.agents)
            .finish_non_exhaustive()
    }
}
