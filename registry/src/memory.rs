//! The registry inside one process: for tests, and for a service that only its own client calls.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{Error, ErrorKind, Node, Registry, Result, ServiceName, Snapshot, Watcher};

/// The longest ttl, about as long as tokio's clock reaches: 30 years.
const TTL_MAX: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// A registry in this process's memory: whoever holds it sees what others who hold it registered.
///
/// A node that is not renewed goes when its ttl has passed. Time is tokio's, so tests can stop it.
///
/// ```
/// use std::time::Duration;
/// use micro_registry::{Memory, Node, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro_registry::Result<()> {
/// let registry = Memory::default();
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert_eq!(registry.get_service("greeter").await?.nodes()[0].as_ref(), &node);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct Memory {
    shelf: Arc<Mutex<Shelf>>,
    /// Counts the changes, so that watchers look again.
    changes: watch::Sender<u64>,
}

/// The nodes by service and id.
#[derive(Debug, Default)]
struct Shelf {
    services: BTreeMap<ServiceName, BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    expires: Instant,
}

#[async_trait]
impl Registry for Memory {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let changed = lock(&self.shelf).put(node, expiry(ttl))?;
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        let changed = lock(&self.shelf).take(node);
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        let service = service.parse()?;
        Ok(lock(&self.shelf).look(&service).0)
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        Ok(lock(&self.shelf).names())
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let service: ServiceName = service.parse()?;
        let shelf = Arc::clone(&self.shelf);
        let mut changes = self.changes.subscribe();
        Ok(Watcher::spawn(|sender| async move {
            loop {
                changes.borrow_and_update();
                let (snapshot, expires) = lock(&shelf).look(&service);
                sender.send(snapshot);
                let expiry = async {
                    match expires {
                        Some(expires) => time::sleep_until(expires).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = changes.changed() => changed.map_err(|_| {
                        let message = format!("watch `{service}`: the memory registry was dropped");
                        Error::new(ErrorKind::Unavailable, message)
                    })?,
                    () = expiry => {}
                }
            }
        }))
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

impl Shelf {
    /// Stores `node`, and answers whether a watcher has to look: not for a renewal that only lives longer.
    fn put(&mut self, node: &Node, expires: Instant) -> Result<bool> {
        let now = Instant::now();
        let nodes = self.services.entry(node.service().clone()).or_default();
        let held = nodes.get_mut(node.id()).filter(|held| held.expires > now);
        let Some(held) = held else {
            let node = Arc::new(node.clone());
            nodes.insert(node.id().to_owned(), Entry { node, expires });
            return Ok(true);
        };
        if held.node.boot() != node.boot() {
            let (id, service) = (node.id(), node.service());
            let message = format!("register node `{id}` of `{service}`: another boot holds the id");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let changed = *held.node != *node;
        if changed {
            held.node = Arc::new(node.clone());
        }
        let sooner = expires < held.expires;
        held.expires = expires;
        Ok(changed || sooner)
    }

    /// Takes `node` away, unless another boot holds its id, and answers whether it was there.
    fn take(&mut self, node: &Node) -> bool {
        let Some(nodes) = self.services.get_mut(node.service()) else {
            return false;
        };
        let is_ours = nodes
            .get(node.id())
            .is_some_and(|held| held.node.boot() == node.boot());
        is_ours && nodes.remove(node.id()).is_some()
    }

    /// The nodes of `service`, and when the first of them expires.
    fn look(&mut self, service: &ServiceName) -> (Snapshot, Option<Instant>) {
        let Some(nodes) = self.services.get_mut(service) else {
            return (Snapshot::empty(), None);
        };
        expire(nodes);
        let snapshot = Snapshot::new(nodes.values().map(|entry| Arc::clone(&entry.node)));
        (snapshot, nodes.values().map(|entry| entry.expires).min())
    }

    fn names(&mut self) -> Vec<String> {
        self.services.retain(|_, nodes| {
            expire(nodes);
            !nodes.is_empty()
        });
        self.services.keys().map(ToString::to_string).collect()
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().expect("no panic while the nodes are locked")
}

fn expire(nodes: &mut BTreeMap<String, Entry>) {
    let now = Instant::now();
    nodes.retain(|_, entry| entry.expires > now);
}

fn expiry(ttl: Duration) -> Instant {
    Instant::now() + ttl.min(TTL_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(30);

    fn node(id: &str, boot: &str) -> Node {
        let address = "127.0.0.1:9090".parse().unwrap();
        Node::builder("greeter".parse().unwrap(), id, address)
            .boot(boot)
            .build()
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_renewed_goes_and_the_watcher_sees_it() {
        let registry = Memory::default();
        registry.register(&node("a", "1"), TTL).await.unwrap();
        let mut watcher = registry.watch("greeter").await.unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap().len(), 1);
        let started = Instant::now();
        assert!(watcher.next().await.unwrap().unwrap().is_empty());
        assert!(started.elapsed() >= TTL, "{:?}", started.elapsed());
        assert!(registry.get_service("greeter").await.unwrap().is_empty());
        assert!(registry.list_services().await.unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn another_boot_is_a_conflict_until_the_ttl_has_passed() {
        let registry = Memory::default();
        registry.register(&node("a", "1"), TTL).await.unwrap();
        let error = registry.register(&node("a", "2"), TTL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        registry.deregister(&node("a", "2")).await.unwrap();
        assert_eq!(
            registry.get_service("greeter").await.unwrap().nodes()[0].boot(),
            "1"
        );
        time::advance(TTL).await;
        registry.register(&node("a", "2"), TTL).await.unwrap();
        assert_eq!(
            registry.get_service("greeter").await.unwrap().nodes()[0].boot(),
            "2"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_moves_the_end_in_both_directions() {
        let registry = Memory::default();
        registry.register(&node("a", "1"), TTL).await.unwrap();
        let mut watcher = registry.watch("greeter").await.unwrap();
        assert_eq!(watcher.next().await.unwrap().unwrap().len(), 1);
        let started = Instant::now();
        registry.register(&node("a", "1"), TTL * 3).await.unwrap();
        registry.register(&node("a", "1"), TTL / 3).await.unwrap();
        assert!(watcher.next().await.unwrap().unwrap().is_empty());
        assert!(started.elapsed() < TTL, "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn no_ttl_is_too_long() {
        let registry = Memory::default();
        registry.register(&node("a", "1"), Duration::MAX).await.unwrap();
        assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_that_changes_nothing_wakes_no_watcher() {
        let registry = Memory::default();
        registry.register(&node("a", "1"), TTL).await.unwrap();
        let changes = registry.changes.subscribe();
        registry.register(&node("a", "1"), TTL).await.unwrap();
        registry.deregister(&node("b", "1")).await.unwrap();
        assert!(!changes.has_changed().unwrap());
    }

    #[tokio::test]
    async fn a_watcher_ends_with_the_registry() {
        let registry = Memory::default();
        let mut watcher = registry.watch("greeter").await.unwrap();
        assert!(watcher.next().await.unwrap().is_ok());
        drop(registry);
        assert_eq!(
            watcher.next().await.unwrap().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
    }
}
