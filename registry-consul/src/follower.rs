//! Follows one service: waits for changes, and lists everything now and then, as changes alone cannot be relied on.

use std::{pin::pin, sync::Arc, time::Duration};

use micro_registry::{Result, ServiceName, Snapshot, WatchSender};
use tokio::time::{self, Instant};
use tracing::debug;

use crate::catalogue::{Catalogue, Decoder, Listing};

/// How often everything is listed, give or take a fifth: a server that lost its state wakes nobody who waits for a
/// number that is ahead of its own.
const RESYNC_INTERVAL: Duration = Duration::from_secs(45);
/// How often a service is listed that cannot be waited for, give or take a fifth.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest rest between two questions: changes that come faster arrive together.
const REST_MIN: Duration = Duration::from_millis(50);
/// The longest rest, when an agent answers at once although nothing changed.
const REST_MAX: Duration = Duration::from_secs(5);
/// An answer without news that comes sooner is an agent that does not wait.
const WAITED_MIN: Duration = Duration::from_secs(1);

/// Follows one service for one watcher.
#[derive(Debug)]
pub(crate) struct Follower {
    catalogue: Arc<Catalogue>,
    service: ServiceName,
    decoder: Decoder,
    resync: Instant,
    rest: Duration,
}

impl Follower {
    pub(crate) fn new(catalogue: Arc<Catalogue>, service: ServiceName) -> Self {
        Self {
            catalogue,
            service,
            decoder: Decoder::default(),
            resync: Instant::now() + spread(RESYNC_INTERVAL),
            rest: REST_MIN,
        }
    }

    /// Sends what there is, and then what changes, until something fails.
    pub(crate) async fn follow(mut self, sender: WatchSender) -> Result<()> {
        let mut last = self.list().await?;
        loop {
            sender.send(last.snapshot.clone());
            time::sleep(self.rest).await;
            last = self.next(&last).await?;
        }
    }

    /// The state after `last`, or the same when the agent says that there was no change.
    async fn next(&mut self, last: &Listing) -> Result<Listing> {
        let begun = Instant::now();
        let (catalogue, service) = (Arc::clone(&self.catalogue), self.service.clone());
        let mut change = pin!(catalogue.change(&service, last.index));
        loop {
            tokio::select! {
                change = &mut change => return match change {
                    Ok(Some(answer)) => {
                        let waited = begun.elapsed();
                        let read = Instant::now();
                        let listing = catalogue.listing(&service, &answer, &mut self.decoder).await?;
                        self.rest_after(&listing, &last.snapshot, waited, read.elapsed());
                        // The number of a server with another state says nothing about that state.
                        if listing.index < last.index { self.list().await } else { Ok(listing) }
                    }
                    Ok(None) => {
                        time::sleep(spread(POLL_INTERVAL)).await;
                        self.list().await
                    }
                    Err(error) => {
                        let listing = self.list().await?;
                        debug!(%service, %error, "cannot wait for changes; lists instead");
                        self.rest = spread(POLL_INTERVAL);
                        Ok(listing)
                    }
                },
                () = time::sleep_until(self.resync) => {
                    let listing = self.list().await?;
                    if listing.index < last.index || listing.snapshot != last.snapshot {
                        return Ok(listing);
                    }
                }
            }
        }
    }

    async fn list(&mut self) -> Result<Listing> {
        self.resync = Instant::now() + spread(RESYNC_INTERVAL);
        self.catalogue.list(&self.service, &mut self.decoder).await
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

/// `interval` give or take a fifth, so that many do not ask at the same time.
fn spread(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.4 * fastrand::f64())
}
