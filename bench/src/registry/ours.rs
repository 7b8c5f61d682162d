//! The work done by micro: by a backend's watcher alone, and by a whole client.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use micro::{
    Client, Connect, Connecting,
    registry::{self, Address, Node, Registry, Snapshot, Watcher},
};
use tokio::task::JoinSet;

use super::{Backend, FIRST, seen::Seen};
use crate::Result;

/// A registry at this address.
pub(super) fn open(backend: Backend, address: &str) -> Result<Arc<dyn Registry>> {
    Ok(match backend {
        Backend::Consul => Arc::new(
            micro_registry_consul::Consul::builder()
                .address(address)
                .build()?,
        ),
        Backend::Etcd => Arc::new(micro_registry_etcd::Etcd::builder().address(address).build()?),
    })
}

fn tell(seen: &Seen, at: usize, snapshot: &Snapshot) {
    let port = snapshot.get(FIRST).map(|node| node.address().port());
    seen.update(at, snapshot.len(), port);
}

/// Follows the services by the backend's watchers, until the first error.
pub(super) async fn watch(registry: Arc<dyn Registry>, services: Vec<String>, seen: Seen) -> Result<()> {
    let mut following = JoinSet::new();
    for (at, service) in services.into_iter().enumerate() {
        let (registry, seen) = (Arc::clone(&registry), seen.clone());
        following.spawn(async move {
            let mut watcher = registry.watch(&service).await?;
            while let Some(snapshot) = watcher.next().await {
                tell(&seen, at, &snapshot?);
            }
            Err::<(), crate::Error>("the watcher ended".into())
        });
    }
    while let Some(ended) = following.join_next().await {
        ended??;
    }
    Ok(())
}

/// Follows the services by a client, whose connections never come about: what is measured is discovery.
pub(super) async fn call(registry: Arc<dyn Registry>, services: Vec<String>, seen: Seen) -> Result<()> {
    let names = Arc::new(services);
    let tapped = Tapped {
        inner: registry,
        names: Arc::clone(&names),
        seen,
    };
    let client = Client::builder(Arc::new(tapped))
        .connector(Never)
        .connect_timeout(Duration::from_secs(3600))
        .request_timeout(Duration::from_secs(120))
        .build()?;
    let mut channels = Vec::new();
    for service in names.iter() {
        let channel = client.channel(service);
        channel.endpoints().await?;
        channels.push(channel);
    }
    std::future::pending().await
}

/// Connects to nobody.
#[derive(Debug)]
struct Never;

impl Connect for Never {
    fn connect(&self, _address: &Address) -> Connecting {
        Box::pin(std::future::pending())
    }
}

/// A registry whose snapshots are looked at on their way.
#[derive(Debug)]
struct Tapped {
    inner: Arc<dyn Registry>,
    names: Arc<Vec<String>>,
    seen: Seen,
}

#[async_trait]
impl Registry for Tapped {
    async fn register(&self, node: &Node, ttl: Duration) -> registry::Result<()> {
        self.inner.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> registry::Result<()> {
        self.inner.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> registry::Result<Snapshot> {
        self.inner.get_service(service).await
    }

    async fn list_services(&self) -> registry::Result<Vec<String>> {
        self.inner.list_services().await
    }

    async fn watch(&self, service: &str) -> registry::Result<Watcher> {
        let mut inner = self.inner.watch(service).await?;
        let at = self
            .names
            .iter()
            .position(|name| name == service)
            .unwrap_or_default();
        let seen = self.seen.clone();
        Ok(Watcher::spawn(move |sender| async move {
            while let Some(snapshot) = inner.next().await {
                let snapshot = snapshot?;
                tell(&seen, at, &snapshot);
                sender.send(snapshot);
            }
            Ok(())
        }))
    }

    fn name(&self) -> &'static str {
        self.inner.name()
    }
}
