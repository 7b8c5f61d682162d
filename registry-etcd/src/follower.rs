//! Follows one service: lists it, watches what changes, and lists it anew whenever the changes cannot be relied on.

mod watch;

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use micro_registry::{Error, Lent, Result, WatchSender};
use tokio::time::{self, Instant};
use tracing::debug;

use self::watch::{Step, Watch};
use crate::nodes::Nodes;

/// How often everything is listed, give or take a fifth: servers are known that lose an event now and then.
const RESYNC_INTERVAL: Duration = Duration::from_secs(300);
/// How long after a list the next one has to wait, whatever happens.
const LIST_REST: Duration = Duration::from_secs(1);

/// What can be listed and watched.
pub(crate) trait Source: Send + Sync + 'static {
    type Stream: Stream;

    /// Replaces `nodes` by what stands in etcd, and says as of when.
    fn list(&self, nodes: &mut Nodes) -> impl Future<Output = Result<Position>> + Send;

    /// Asks for what changes of `nodes` from revision `from` on, that one included.
    fn watch(&self, nodes: &Nodes, from: i64) -> impl Future<Output = Result<Self::Stream>> + Send;
}

/// What changes, as it comes.
pub(crate) trait Stream: Send {
    /// The next message. Cancel safe.
    fn message(&mut self) -> impl Future<Output = Result<Message>> + Send;

    /// Asks for a sign of life, which is a message.
    fn ask(&mut self) -> impl Future<Output = Result<()>> + Send;

    /// The error of a stream that is given up because of `reason`.
    fn given_up(&self, reason: &str) -> Error;
}

/// Where a server is in its history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) revision: i64,
    /// The count of elections.
    pub(crate) term: u64,
}

/// What a server says.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) at: Position,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// The watch has begun.
    Created,
    /// A sign of life.
    Progress,
    /// What changed; the rest of it follows if there is more.
    Events { events: Vec<Event>, has_more: bool },
    /// What was asked for is forgotten; the watch is over.
    Compacted,
}

/// A change of one key.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) key: Vec<u8>,
    pub(crate) revision: i64,
    /// `None` if the key is gone.
    pub(crate) record: Option<Vec<u8>>,
}

/// Follows one service for one watcher.
#[derive(Debug)]
pub(crate) struct Follower<S> {
    source: Arc<S>,
    nodes: Lent<Nodes>,
    listed: Option<Instant>,
    resync: Instant,
}

impl<S: Source> Follower<S> {
    /// Follows the service of `nodes`.
    pub(crate) fn new(source: Arc<S>, nodes: Lent<Nodes>) -> Self {
        Self {
            source,
            nodes,
            listed: None,
            resync: Instant::now(),
        }
    }

    /// Sends what there is, and then what changes, until something fails.
    pub(crate) async fn follow(mut self, sender: WatchSender) -> Result<()> {
        let mut listed = self.list().await?;
        loop {
            sender.send(self.nodes.snapshot());
            listed = self.follow_from(listed, &sender).await?;
        }
    }

    /// Sends what changed since the list of `listed`, until the watch cannot go on; answers where the list is that was
    /// made then.
    async fn follow_from(&mut self, listed: Position, sender: &WatchSender) -> Result<Position> {
        // From that revision itself: a server that forgets everything up to the next one, and with it that something
        // was deleted there, would not say so to who watches from there. And of a watch from a revision that is yet to
        // come, newer servers give no sign of life.
        let mut stream = Box::pin(self.source.watch(&self.nodes, listed.revision)).await?;
        let mut watch = Watch::new(listed);
        // What is due moves on with each message. Waking up too soon now and then is less than to set it each time.
        let mut wake = pin!(time::sleep_until(watch.wake()));
        loop {
            let due = watch.wake().min(self.resync);
            if wake.is_elapsed() || due < wake.deadline() {
                wake.as_mut().reset(due);
            }
            let step = tokio::select! {
                message = stream.message() => match message {
                    Ok(message) => watch.take(message, &mut self.nodes),
                    Err(error) => {
                        watch.flush(&mut self.nodes, sender);
                        return Err(error);
                    }
                },
                () = &mut wake => {
                    if let Some(reason) = watch.silence() {
                        return Err(stream.given_up(&reason));
                    }
                    if watch.ask_if_due() {
                        stream.ask().await?;
                    }
                    if self.resync <= Instant::now() { Step::List } else { Step::Go }
                }
            };
            if step == Step::Go {
                watch.send_if_due(&mut self.nodes, sender);
                continue;
            }
            let listed = self.list().await?;
            if step == Step::Leave || !watch.goes_on_from(listed) {
                debug!(service = %self.nodes.service(), ?watch, ?listed, "watches anew");
                return Ok(listed);
            }
            watch.flush_listed(&mut self.nodes, sender);
        }
    }

    async fn list(&mut self) -> Result<Position> {
        if let Some(listed) = self.listed {
            time::sleep_until(listed + LIST_REST).await;
        }
        // On the heap, and only for as long as it takes: of a thousand watches nearly all wait for a message.
        let listed = Box::pin(self.source.list(&mut self.nodes)).await?;
        let now = Instant::now();
        self.listed = Some(now);
        self.resync = now + spread(RESYNC_INTERVAL);
        Ok(listed)
    }
}

/// `interval` give or take a fifth, so that many do not ask at the same time.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests;
