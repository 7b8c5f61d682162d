//! When what was heard is an answer: mDNS never says that this was all.

use std::time::Duration;

use micro_registry::{Result, ServiceName, Snapshot, Watcher};
use tokio::{
    sync::watch,
    time::{self, Instant},
};

use crate::{
    daemon::{Daemon, VERIFY_WAIT},
    directory::{Directory, VERIFY_INTERVAL},
    session::{Look, Shared, look},
};

/// How long it must have been quiet before the answers count as all: responders wait up to 120 ms (RFC 6762 §6), and a
/// busy host is slow.
const SETTLE_WAIT: Duration = Duration::from_millis(200);

impl Shared {
    /// All nodes of `service`.
    pub(crate) async fn list(&self, service: &ServiceName) -> Result<Snapshot> {
        let daemon = self.connected().await?;
        if self.interest.add(service) {
            self.listen();
            self.refresh(&daemon, |name| name == service).await?;
        }
        nodes(
            &mut self.directory.subscribe(),
            service,
            self.settings.first_answer_wait,
        )
        .await
    }

    /// The names of all services that have a node.
    pub(crate) async fn services(&self) -> Result<Vec<String>> {
        let daemon = self.connected().await?;
        if self.interest.add_everything() {
            self.listen();
            self.refresh(&daemon, |_| true).await?;
        }
        names(&mut self.directory.subscribe(), self.settings.first_answer_wait).await
    }

    /// Follows `service`.
    pub(crate) async fn watch(&self, service: ServiceName) -> Result<Watcher> {
        self.connected().await?;
        self.interest.add(&service);
        self.listen();
        let mut directory = self.directory.subscribe();
        let first_answer_wait = self.settings.first_answer_wait;
        Ok(Watcher::spawn(move |sender| async move {
            let mut last = nodes(&mut directory, &service, first_answer_wait).await?;
            loop {
                sender.send(last.clone());
                last = next(&mut directory, &service, &last).await?;
            }
        }))
    }

    /// Finds out which nodes of `wanted` services are still there, for whom nobody has cared so far.
    async fn refresh(&self, daemon: &Daemon, wanted: impl Fn(&ServiceName) -> bool) -> Result<()> {
        let names = {
            let directory = self.directory.borrow();
            match directory.listening {
                Some(since) if since.elapsed() >= VERIFY_INTERVAL => directory.names(wanted),
                // What was heard just now is there, and what is not listened to will be.
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
        let now = directory.nodes(service);
        if now == *last { Look::Wait } else { Look::Is(now) }
    };
    look(directory, other).await
}

/// Waits for the nodes of `service`: some once the answers settle, none after `first_answer_wait`.
async fn nodes(
    directory: &mut watch::Receiver<Directory>,
    service: &ServiceName,
    first_answer_wait: Duration,
) -> Result<Snapshot> {
    let answer = |directory: &Directory| {
        let nodes = directory.nodes(service);
        settled(directory, !nodes.is_empty(), first_answer_wait, || Ok(nodes))
    };
    look(directory, answer).await?
}

/// Waits for the names of all services.
async fn names(
    directory: &mut watch::Receiver<Directory>,
    first_answer_wait: Duration,
) -> Result<Vec<String>> {
    let answer = |directory: &Directory| {
        let names: Vec<_> = directory.services().map(ToString::to_string).collect();
        settled(directory, !names.is_empty(), first_answer_wait, || Ok(names))
    };
    look(directory, answer).await?
}

/// Waits until whoever holds an id has said so.
pub(crate) async fn holders(directory: &mut watch::Receiver<Directory>) -> Result<()> {
    let answer = |directory: &Directory| settled(directory, true, SETTLE_WAIT, || Ok(()));
    look(directory, answer).await?
}

/// The answer: `some` once nothing has changed for a while, none once `first_answer_wait` is over.
fn settled<T>(
    directory: &Directory,
    some: bool,
    first_answer_wait: Duration,
    answer: impl FnOnce() -> Result<T>,
) -> Look<Result<T>> {
    let Some(asked) = directory.asked else {
        // The daemon has begun, or the browser would not be there: it asks within 50 ms.
        return Look::Wait;
    };
    let limit = asked + first_answer_wait;
    if some {
        at(limit.min(asked.max(directory.changed()) + SETTLE_WAIT), answer)
    } else {
        at(limit, answer)
    }
}

fn at<T>(time: Instant, answer: impl FnOnce() -> Result<T>) -> Look<Result<T>> {
    if Instant::now() < time {
        Look::Until(time)
    } else {
        Look::Is(answer())
    }
}
