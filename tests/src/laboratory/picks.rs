//! When a node was picked that answers nothing, as its client sees it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use micro::Channel;
use tokio::task::JoinHandle;

use super::pass;

/// How often the client is asked; a call to a node that answers nothing takes longer.
const INTERVAL: Duration = Duration::from_millis(20);

/// Writes down when a node got more calls than it had. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Picks {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Vec<Instant>>>,
}

impl Picks {
    /// Looks at the calls of `node` from now on.
    pub(super) fn of(channel: Channel, node: &'static str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut before = 0;
            loop {
                pass(INTERVAL).await;
                let asked = Instant::now();
                let endpoints = channel.endpoints().await.expect("the client is there");
                let endpoint = endpoints.iter().find(|endpoint| endpoint.node.id() == node);
                let now = endpoint.map_or(0, |endpoint| endpoint.in_flight);
                if now > before {
                    written.lock().expect("no panic while locked").push(asked);
                }
                before = now;
            }
        });
        Self { task, seen }
    }

    /// How long after `since` it got a call for the last time.
    pub(super) fn last(&self, since: Instant) -> Duration {
        let seen = self.seen.lock().expect("no panic while locked");
        let last = seen.last().copied().unwrap_or(since);
        last.saturating_duration_since(since)
    }
}

impl Drop for Picks {
    fn drop(&mut self) {
        self.task.abort();
    }
}
