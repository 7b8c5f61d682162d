//! Follows one service: waits for changes, and lists everything now and then, as changes alone cannot be relied on.

use std::{future::Future, sync::Arc, time::Duration};

use micro_registry::{Lent, Node, Result, ServiceName, Snapshot, WatchSender};
use tokio::time::{self, Instant};
use tracing::debug;

use crate::{catalogue::Listing, decoder::Decoder};

/// How often everything is listed, give or take a fifth: a server that lost its state wakes nobody who waits for a
/// number that is ahead of its own.
const RESYNC_INTERVAL: Duration = Duration::from_secs(45);
/// How often a service is listed that cannot be waited for, give or take a fifth.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Those that are listed so are listed together: a process that wakes for each by itself uses more than twice the time of
/// its processor.
const POLL_TICK: Duration = Duration::from_millis(500);
/// The shortest rest between two questions: changes that come faster arrive together.
const REST_MIN: Duration = Duration::from_millis(50);
/// The longest rest, when an agent answers at once although nothing changed.
const REST_MAX: Duration = Duration::from_secs(5);
/// An answer without news that comes sooner is an agent that does not wait.
const WAITED_MIN: Duration = Duration::from_secs(1);

/// What can be listed, and waited for.
pub(crate) trait Source: Send + Sync + 'static {
    /// An answer that was waited for, not read yet.
    type Change: Send;

    /// All nodes, without waiting.
    fn list(
        &self,
        service: &ServiceName,
        decoder: &mut Decoder,
    ) -> impl Future<Output = Result<Listing>> + Send;

    /// Waits until something changed since `index`, or some time went by; `None` when no connection can be spared.
    fn change(
        &self,
        service: &ServiceName,
        index: u64,
    ) -> impl Future<Output = Result<Option<Self::Change>>> + Send;

    /// When the source was made, from which on the ticks of those count that poll.
    fn began(&self) -> Instant;

    /// What `change` lists.
    fn read(
        &self,
        service: &ServiceName,
        change: &Self::Change,
        decoder: &mut Decoder,
    ) -> impl Future<Output = Result<Listing>> + Send;
}

/// Follows one service for one watcher.
#[derive(Debug)]
pub(crate) struct Follower<S> {
    source: Arc<S>,
    service: ServiceName,
    decoder: Lent<Decoder>,
    resync: Instant,
    rest: Duration,
}

impl<S: Source> Follower<S> {
    pub(crate) fn new(source: Arc<S>, service: ServiceName, decoder: Lent<Decoder>) -> Self {
        Self {
            source,
            service,
            decoder,
            resync: Instant::now(),
            rest: REST_MIN,
        }
    }

    /// Sends what there is, and then what changes, until something fails.
    pub(crate) async fn follow(mut self, sender: WatchSender) -> Result<()> {
        let mut last = self.list().await?;
        loop {
            sender.send(last.snapshot.clone());
            time::sleep(self.rest).await;
            let listing = self.next(&last).await?;
            last = self.believed(listing, &last);
        }
    }

    /// The state after `last`, or the same when the agent says that there was no change.
    async fn next(&mut self, last: &Listing) -> Result<Listing> {
        let begun = Instant::now();
        let (source, service) = (Arc::clone(&self.source), self.service.clone());
        // On the heap, here and below: of a thousand services nearly all rest, and need nothing of it meanwhile.
        let mut waiting = Box::pin(source.change(&service, last.index));
        let change = loop {
            tokio::select! {
                change = &mut waiting => break change,
                () = time::sleep_until(self.resync) => {
                    let listing = self.list().await?;
                    let is_news = listing.index < last.index || listing.snapshot != last.snapshot;
                    if is_news || listing.is_led != last.is_led {
                        return Ok(listing);
                    }
                }
            }
        };
        drop(waiting);
        match change {
            Ok(Some(change)) => self.take(change, last, begun.elapsed()).await,
            Ok(None) => {
                time::sleep_until(next_poll(self.source.began())).await;
                self.list().await
            }
            Err(error) => {
                // If nothing at all can be had, that is said; else this is done without.
                let listing = self.list().await?;
                debug!(%service, %error, "cannot wait for changes; lists instead");
                self.rest = spread(POLL_INTERVAL);
                Ok(listing)
            }
        }
    }

    /// What to make of `listing` after `last`: a server that knows no leader adds nodes and takes none away.
    fn believed(&self, listing: Listing, last: &Listing) -> Listing {
        let Listing {
            index,
            is_led,
            behind,
            ..
        } = listing;
        let (service, behind_ms) = (&self.service, behind.as_millis());
        let nodes = listing.snapshot.len();
        if listing.snapshot != last.snapshot || is_led != last.is_led {
            debug!(%service, nodes, index, known_leader = is_led, last_contact_ms = behind_ms, "nodes listed");
        }
        let is_missing = |node: &&Arc<Node>| listing.snapshot.get(node.id()).is_none();
        let missing: Vec<_> = last.snapshot.nodes().iter().filter(is_missing).cloned().collect();
        if is_led || missing.is_empty() {
            return listing;
        }
        debug!(%service, missing = missing.len(), "nodes kept that a server without a leader does not know");
        let nodes = listing.snapshot.nodes().iter().cloned();
        Listing {
            snapshot: Snapshot::new(nodes.chain(missing)),
            ..listing
        }
    }

    async fn take(&mut self, change: S::Change, last: &Listing, waited: Duration) -> Result<Listing> {
        let begun = Instant::now();
        let reads = self.source.read(&self.service, &change, &mut self.decoder);
        let listing = Box::pin(reads).await?;
        drop(change);
        self.rest_after(&listing, &last.snapshot, waited, begun.elapsed());
        if listing.index < last.index {
            // The number of a server that lost its state says nothing about the one that was waited for.
            return self.list().await;
        }
        Ok(listing)
    }

    async fn list(&mut self) -> Result<Listing> {
        self.resync = Instant::now() + spread(RESYNC_INTERVAL);
        Box::pin(self.source.list(&self.service, &mut self.decoder)).await
    }

    /// Rests as long as reading took, so that changes without end take half of a core at most.
    fn rest_after(&mut self, listing: &Listing, last: &Snapshot, waited: Duration, reading: Duration) {
        self.rest = if listing.snapshot == *last && waited < WAITED_MIN {
            (self.rest * 2).min(REST_MAX)
        } else {
            reading.clamp(REST_MIN, REST_MAX)
        };
    }
}

/// The last tick since `began` within the interval of polls, give or take a fifth.
fn next_poll(began: Instant) -> Instant {
    let due = began.elapsed() + spread(POLL_INTERVAL);
    let ticks = due.as_millis() / POLL_TICK.as_millis();
    began + POLL_TICK * u32::try_from(ticks).unwrap_or(u32::MAX)
}

/// `interval` give or take a fifth, so that many do not ask at the same time.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests;
