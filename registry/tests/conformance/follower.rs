//! The watch of the registry with a server, and what may be wrong with it.

use std::{sync::Arc, time::Duration};

use micro_registry::{Result, Snapshot, WatchSender};
use tokio::{
    task,
    time::{self, Instant},
};

use crate::server::{Fault, Server};

/// When to look again although nothing is said to happen.
const LOOK_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// Follows one service.
pub(crate) struct Follower {
    pub(crate) server: Arc<Server>,
    pub(crate) service: String,
    pub(crate) number: u64,
    pub(crate) seen: Option<Snapshot>,
}

impl Follower {
    pub(crate) async fn follow(mut self, sender: WatchSender) -> Result<()> {
        let mut changes = self.server.changes();
        loop {
            changes.borrow_and_update();
            if self.server.has(Fault::OneWatcher) && self.server.watches() > self.number {
                return Ok(());
            }
            let expires = match self.server.reach().await {
                Ok(()) => self.look(&sender)?,
                Err(_) if self.server.has(Fault::Deaf) => std::future::pending().await,
                Err(error) => return Err(error),
            };
            if self.server.has(Fault::Gap) {
                // What changes here is lost: only what comes after it is waited for.
                for _ in 0..100 {
                    task::yield_now().await;
                }
                changes.borrow_and_update();
            }
            // Whichever comes first, a change or an end: both are seen by the next look.
            let _ = time::timeout_at(expires, changes.changed()).await;
        }
    }

    /// Sends what is there, and answers when to look again at the latest.
    fn look(&mut self, sender: &WatchSender) -> Result<Instant> {
        let (found, expires) = self.server.look(&self.service)?;
        let is_first = self.seen.is_none();
        if is_first && self.server.has(Fault::FirstEmpty) {
            sender.send(Snapshot::empty());
        } else if is_first && self.server.has(Fault::FirstOne) {
            sender.send(Snapshot::new(found.nodes().iter().take(1).cloned()));
        } else if !self.is_known(&found) {
            sender.send(found.clone());
        }
        self.seen = Some(found);
        Ok(expires.unwrap_or_else(|| Instant::now() + LOOK_INTERVAL))
    }

    fn is_known(&self, found: &Snapshot) -> bool {
        let ids = |snapshot: &Snapshot| {
            snapshot
                .nodes()
                .iter()
                .map(|node| node.id().to_owned())
                .collect::<Vec<_>>()
        };
        self.server.has(Fault::ComparesIds) && self.seen.as_ref().is_some_and(|seen| ids(seen) == ids(found))
    }
}
