//! The nodes of a service as its client sees them, looked at again and again.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use micro::{Channel, EndpointStatus};
use tokio::task::JoinHandle;

use super::pass;

/// What was seen at each look, and when. Looking ends when it is dropped.
#[derive(Debug)]
pub(super) struct Looks<T> {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Vec<(Instant, T)>>>,
}

impl<T: Send + 'static> Looks<T> {
    /// Looks at the nodes of `channel` each `interval` from now on, and writes down what `see` makes of them.
    pub(super) fn start(
        channel: Channel,
        interval: Duration,
        mut see: impl FnMut(&[EndpointStatus]) -> T + Send + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let asked = Instant::now();
                let endpoints = channel.endpoints().await.expect("the client is there");
                let look = (asked, see(&endpoints));
                written.lock().expect("no panic while locked").push(look);
                pass(interval).await;
            }
        });
        Self { task, seen }
    }

    /// What `read` makes of all looks so far.
    pub(super) fn read<R>(&self, read: impl FnOnce(&[(Instant, T)]) -> R) -> R {
        read(&self.seen.lock().expect("no panic while locked"))
    }
}

impl<T> Drop for Looks<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
