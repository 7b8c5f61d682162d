//! When what was heard is an answer: mDNS never says that this was all.

use std::time::Duration;

use micro_registry::{Error, ErrorKind, Result, ServiceName, Snapshot, Watcher};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{
    daemon::{Daemon, VERIFY_WAIT},
    directory::{Directory, Phase, VERIFY_INTERVAL},
    session::{Look, Shared, look},
};

/// How long it must have been quiet before the answers to a question count as all: responders wait up to 50 ms (mdns-sd)
/// or 120 ms (RFC 6762 §6) before they answer.
const SETTLE_WAIT: Duration = Duration::from_millis(150);
/// After this many questions everybody had to answer: responders keep silent for 1 s after their last multicast, and
/// the second question comes 1 s after the first.
const QUESTIONS: u32 = 2;
/// How long the daemon may take until it asks the first question.
const QUESTION_WAIT: Duration = Duration::from_secs(5);

impl Shared {
    /// All nodes of `service`.
    pub(crate) async fn list(&self, service: &ServiceName) -> Result<Snapshot> {
        let daemon = self.connected().await?;
        if self.interest.add(service) {
            self.refresh(service, &daemon).await?;
        }
        all(
            &mut self.directory.subscribe(),
            service,
            self.settings.first_answer_wait,
        )
        .await
    }

    /// The names of all services that have a node.
    pub(crate) async fn services(&self) -> Result<Vec<String>> {
        self.connected().await?;
        self.interest.add_everything();
        services(&mut self.directory.subscribe(), self.settings.first_answer_wait).await
    }

    /// Follows `service`.
    pub(crate) async fn watch(&self, service: ServiceName) -> Result<Watcher> {
        self.connected().await?;
        self.interest.add(&service);
        let mut directory = self.directory.subscribe();
        let first_answer_wait = self.settings.first_answer_wait;
        Ok(Watcher::spawn(move |sender| async move {
            let mut last = first(&mut directory, &service, first_answer_wait).await?;
            loop {
                sender.send(last.clone());
                last = next(&mut directory, &service, &last).await?;
            }
        }))
    }

    /// Finds out which nodes of `service` are still there, if nobody has cared for it so far.
    async fn refresh(&self, service: &ServiceName, daemon: &Daemon) -> Result<()> {
        let names = {
            let directory = self.directory.borrow();
            match directory.phase {
                Phase::Running(_, since) if since.elapsed() >= VERIFY_INTERVAL => directory.names(service),
                _ => return Ok(()),
            }
        };
        for name in &names {
            daemon.verify(name).await?;
        }
        if !names.is_empty() {
            time::sleep(VERIFY_WAIT + SETTLE_WAIT).await;
        }
        Ok(())
    }
}

/// Waits until the nodes of `service` are others than `last`.
async fn next(
    directory: &mut watch::Receiver<Directory>,
    service: &ServiceName,
    last: &Snapshot,
) -> Result<Snapshot> {
    let other = |directory: &Directory| {
        let now = directory
            .listing(service)
            .map_or_else(Snapshot::empty, |listing| listing.snapshot.clone());
        if now == *last { Look::Wait } else { Look::Is(now) }
    };
    look(directory, other).await
}

/// Waits for the first nodes of `service`: some as soon as the answers settle, none after `first_answer_wait`.
async fn first(
    directory: &mut watch::Receiver<Directory>,
    service: &ServiceName,
    first_answer_wait: Duration,
) -> Result<Snapshot> {
    let answer = |directory: &Directory| {
        let Some(asked) = directory.queries.first() else {
            return unasked(directory);
        };
        let (snapshot, settled) = match directory.listing(service) {
            Some(listing) => (listing.snapshot.clone(), listing.changed + SETTLE_WAIT),
            None => (Snapshot::empty(), asked + first_answer_wait),
        };
        at(settled.min(asked + first_answer_wait), || Ok(snapshot))
    };
    look(directory, answer).await?
}

/// Waits for all nodes of `service`.
async fn all(
    directory: &mut watch::Receiver<Directory>,
    service: &ServiceName,
    first_answer_wait: Duration,
) -> Result<Snapshot> {
    let answer = |directory: &Directory| {
        let Some(asked) = directory.queries.first() else {
            return unasked(directory);
        };
        let limit = asked + first_answer_wait;
        match directory.listing(service) {
            Some(listing) => at_end(directory, listing.changed, limit, || Ok(listing.snapshot.clone())),
            None => at(limit, || Ok(Snapshot::empty())),
        }
    };
    look(directory, answer).await?
}

/// Waits for the names of all services.
async fn services(
    directory: &mut watch::Receiver<Directory>,
    first_answer_wait: Duration,
) -> Result<Vec<String>> {
    let answer = |directory: &Directory| {
        let Some(asked) = directory.queries.first() else {
            return unasked(directory);
        };
        let limit = asked + first_answer_wait;
        let names: Vec<_> = directory.services().map(ToString::to_string).collect();
        if names.is_empty() {
            return at(limit, || Ok(names));
        }
        at_end(directory, directory.changed(), limit, || Ok(names))
    };
    look(directory, answer).await?
}

/// Waits until whoever holds an id has most likely said so.
pub(crate) async fn holders(directory: &mut watch::Receiver<Directory>) -> Result<()> {
    let answer = |directory: &Directory| match directory.queries.first() {
        Some(asked) => at(asked + SETTLE_WAIT, || Ok(())),
        None => unasked(directory),
    };
    look(directory, answer).await?
}

/// The answer once all were asked often enough and have settled, `limit` at the latest.
fn at_end<T>(
    directory: &Directory,
    changed: Instant,
    limit: Instant,
    answer: impl FnOnce() -> Result<T>,
) -> Look<Result<T>> {
    let settled = match directory.queries.last() {
        Some(asked) if directory.queries.count() >= QUESTIONS => asked.max(changed) + SETTLE_WAIT,
        _ => limit,
    };
    at(settled.min(limit), answer)
}

fn at<T>(time: Instant, answer: impl FnOnce() -> Result<T>) -> Look<Result<T>> {
    if Instant::now() < time {
        Look::Until(time)
    } else {
        Look::Is(answer())
    }
}

/// Nothing was asked yet: waits, unless the daemon should have begun long ago.
fn unasked<T>(directory: &Directory) -> Look<Result<T>> {
    let Phase::Running(_, since) = directory.phase else {
        return Look::Wait;
    };
    at(since + QUESTION_WAIT, || {
        Err(Error::new(ErrorKind::Unavailable, "the mDNS daemon asks nothing"))
    })
}
