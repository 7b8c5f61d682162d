//! A registry that writes down what it tells its client.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use micro::registry::{Node, Registry, Result, Snapshot, Watcher};

/// A snapshot that a client was handed.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub at: Instant,
    /// The ids of the nodes.
    pub ids: BTreeSet<String>,
}

/// A registry as its client sees it.
#[derive(Debug)]
pub struct Observed {
    registry: Arc<dyn Registry>,
    seen: Arc<Mutex<Vec<Seen>>>,
    failed: Arc<Mutex<Vec<Instant>>>,
}

impl Observed {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            registry,
            seen: Arc::default(),
            failed: Arc::default(),
        }
    }

    /// The sets handed out after `since` that differ from the one before, the one at `since` first.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn sets(&self, since: Instant) -> Vec<Seen> {
        let seen = self.seen.lock().expect("no panic while locked");
        let first = seen.iter().rposition(|seen| seen.at <= since).unwrap_or(0);
        let mut sets: Vec<Seen> = Vec::new();
        for set in &seen[first.min(seen.len())..] {
            if sets.last().is_none_or(|last| last.ids != set.ids) {
                sets.push(set.clone());
            }
        }
        sets
    }

    /// How often the set changed after `since`.
    #[must_use]
    pub fn changes(&self, since: Instant) -> usize {
        self.sets(since).len().saturating_sub(1)
    }

    /// How often a node was in a set after `since` that was not in the one before.
    #[must_use]
    pub fn returns(&self, since: Instant) -> usize {
        let sets = self.sets(since);
        let returns = sets
            .windows(2)
            .map(|pair| pair[1].ids.difference(&pair[0].ids).count());
        returns.sum()
    }

    /// How often following failed after `since`.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn failures(&self, since: Instant) -> usize {
        let failed = self.failed.lock().expect("no panic while locked");
        failed.iter().filter(|at| **at > since).count()
    }

    /// The set handed out last.
    ///
    /// # Panics
    ///
    /// Never.
    #[must_use]
    pub fn last(&self) -> Option<Seen> {
        self.seen.lock().expect("no panic while locked").last().cloned()
    }
}

#[async_trait]
impl Registry for Observed {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.registry.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.registry.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.registry.get_service(service).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.registry.list_services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let (seen, failed) = (Arc::clone(&self.seen), Arc::clone(&self.failed));
        let fail = move || failed.lock().expect("no panic while locked").push(Instant::now());
        let mut watcher = self.registry.watch(service).await.inspect_err(|_| fail())?;
        Ok(Watcher::spawn(|sender| async move {
            loop {
                let next = tokio::select! {
                    next = watcher.next() => next,
                    () = sender.closed() => return Ok(()),
                };
                let snapshot = match next {
                    Some(Ok(snapshot)) => snapshot,
                    Some(Err(error)) => {
                        fail();
                        return Err(error);
                    }
                    // Said its last word before; whoever still cares watches again.
                    None => return Ok(()),
                };
                seen.lock().expect("no panic while locked").push(Seen {
                    at: Instant::now(),
                    ids: ids(&snapshot),
                });
                sender.send(snapshot);
            }
        }))
    }

    fn name(&self) -> &'static str {
        self.registry.name()
    }
}

/// The ids of the nodes of `snapshot`.
pub(super) fn ids(snapshot: &Snapshot) -> BTreeSet<String> {
    snapshot.nodes().iter().map(|node| node.id().to_owned()).collect()
}
