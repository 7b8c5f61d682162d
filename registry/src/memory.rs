//! The registry inside one process: for tests, and for a service that only its own client calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{Error, ErrorKind, Node, Registry, Result, ServiceName, Snapshot, Watcher};

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
    entries: Arc<Mutex<BTreeMap<(ServiceName, String), Entry>>>,
    /// Counts the changes, so that watchers look again.
    changes: watch::Sender<u64>,
}

type Entries = BTreeMap<(ServiceName, String), Entry>;

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    expires: Instant,
}

impl Memory {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        lock(&self.entries)
    }
}

#[async_trait]
impl Registry for Memory {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let key = (node.service().clone(), node.id().to_owned());
        let entry = Entry {
            node: Arc::new(node.clone()),
            expires: Instant::now() + ttl,
        };
        {
            let mut entries = self.entries();
            let held = entries.get(&key).filter(|held| held.expires > Instant::now());
            if held.is_some_and(|held| held.node.boot() != node.boot()) {
                let message = format!(
                    "node id `{}` of `{}` is held by another boot",
                    node.id(),
                    node.service()
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            entries.insert(key, entry);
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        let key = (node.service().clone(), node.id().to_owned());
        {
            let mut entries = self.entries();
            // What another boot registered under this id is not ours to take away.
            if entries
                .get(&key)
                .is_none_or(|held| held.node.boot() != node.boot())
            {
                return Ok(());
            }
            entries.remove(&key);
        }
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        let service = service.parse()?;
        Ok(look(&mut self.entries(), &service).0)
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        let mut entries = self.entries();
        expire(&mut entries);
        let names: BTreeSet<_> = entries.keys().map(|(service, _)| service.to_string()).collect();
        Ok(names.into_iter().collect())
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let service: ServiceName = service.parse()?;
        let entries = Arc::clone(&self.entries);
        let mut changes = self.changes.subscribe();
        Ok(Watcher::spawn(|sender| async move {
            loop {
                changes.borrow_and_update();
                let (snapshot, expires) = look(&mut lock(&entries), &service);
                sender.send(snapshot);
                let expiry = async {
                    match expires {
                        Some(expires) => time::sleep_until(expires).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    changed = changes.changed() => changed.map_err(|_| {
                        Error::new(ErrorKind::Unavailable, "the memory registry was dropped")
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

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().expect("no panic while the entries are locked")
}

/// The nodes of `service`, and when the first of them expires.
fn look(entries: &mut Entries, service: &ServiceName) -> (Snapshot, Option<Instant>) {
    expire(entries);
    let of_service = || {
        entries
            .iter()
            .filter(|((name, _), _)| name == service)
            .map(|(_, entry)| entry)
    };
    let snapshot = Snapshot::new(of_service().map(|entry| Arc::clone(&entry.node)));
    (snapshot, of_service().map(|entry| entry.expires).min())
}

fn expire(entries: &mut Entries) {
    let now = Instant::now();
    entries.retain(|_, entry| entry.expires > now);
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
