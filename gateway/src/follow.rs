//! Follows which versions of a service there are, and what their methods are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use micro::{Channel, Client, EndpointStatus};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Duration, Instant, sleep, sleep_until},
};
use tonic::Status;
use tracing::{debug, warn};

use crate::{
    edition::{self, Edition},
    export::Export,
    nodes::Nodes,
    table::Table,
};

/// How often it is looked whether anybody asks for a service, and whether what is described of it is too old.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many times in a row nobody may ask for a service before it is let go.
const IDLE_ROUNDS_MAX: u32 = 10;
/// How often the client is asked whom it can reach after a change, as it hears of changes by itself; and the wait after a
/// doubt, however many calls come to nothing.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How many times it is asked after a change.
const LOOKS: u32 = 15;
/// How many versions of a service are described at once, the newest.
const EDITIONS_MAX: usize = 8;
/// The wait before a version that could not be described is asked again; it doubles each time, up to the next.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What is known of a service: its methods, or why they are not known; nothing before the first answer.
pub(crate) type Known = Option<Result<Arc<Table>, Status>>;

/// A service that is followed; dropping it ends that.
#[derive(Debug)]
pub(crate) struct Follower {
    known: watch::Receiver<Known>,
    signals: Arc<Signals>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Signals {
    /// Whether somebody asked since the last look.
    used: AtomicBool,
    /// A node did not know a method that it is described to have.
    doubted: Notify,
}

impl Follower {
    /// Follows `service`, until nobody has asked for it for 5 minutes.
    pub(crate) fn start(client: &Client, service: &str, exports: Vec<Export>) -> Self {
        let (sender, known) = watch::channel(None);
        let signals = Arc::<Signals>::default();
        let following = Following {
            service: Arc::from(service),
            channel: client.channel(service),
            nodes: Nodes::of(client.clone(), service.to_owned()),
            exports,
            signals: Arc::clone(&signals),
            editions: Vec::new(),
            failures: BTreeMap::new(),
        };
        Self {
            known,
            signals,
            task: tokio::spawn(following.run(sender)),
        }
    }

    /// What is known, for somebody who asks; `None` when the service was let go.
    pub(crate) fn known(&self) -> Option<watch::Receiver<Known>> {
        self.signals.used.store(true, Ordering::Relaxed);
        self.known.has_changed().is_ok().then(|| self.watch())
    }

    /// What is known, whether or not it is still followed.
    pub(crate) fn watch(&self) -> watch::Receiver<Known> {
        self.known.clone()
    }

    /// Has the versions described anew: what is known of them does not seem to hold.
    pub(crate) fn doubt(&self) {
        self.signals.doubted.notify_one();
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Following {
    service: Arc<str>,
    channel: Channel,
    nodes: Nodes,
    exports: Vec<Export>,
    signals: Arc<Signals>,
    editions: Vec<Edition>,
    failures: BTreeMap<Arc<str>, Failure>,
}

/// A version that could not be described.
struct Failure {
    status: Status,
    wait: Duration,
    again: Instant,
}

impl Following {
    async fn run(mut self, publish: watch::Sender<Known>) {
        let (mut idle_rounds, mut looks_left) = (0, LOOKS);
        let mut round_ends = Instant::now() + INTERVAL;
        while idle_rounds < IDLE_ROUNDS_MAX {
            self.look(&publish).await;
            let again = self.failures.values().map(|failure| failure.again).min();
            let soon = (looks_left > 0).then(|| Instant::now() + LOOK_INTERVAL);
            let wake = [again, soon].into_iter().flatten().fold(round_ends, Instant::min);
            tokio::select! {
                changed = self.nodes.change() => match changed {
                    Ok(()) => looks_left = LOOKS,
                    // What is known stays; the client tells those who wait for a first answer what it knows itself.
                    Err(error) => debug!(%error, "changes of nodes are not told"),
                },
                () = self.signals.doubted.notified() => {
                    sleep(LOOK_INTERVAL).await;
                    self.editions.iter_mut().for_each(Edition::doubt);
                }
                () = sleep_until(wake) => looks_left = looks_left.saturating_sub(1),
            }
            if Instant::now() >= round_ends {
                round_ends = Instant::now() + INTERVAL;
                idle_rounds = match self.signals.used.swap(false, Ordering::Relaxed) {
                    true => 0,
                    false => idle_rounds + 1,
                };
            }
        }
    }

    async fn look(&mut self, publish: &watch::Sender<Known>) {
        // Not what the registry tells, but whom a call could reach: it is by a call that versions are described.
        let nodes = match self.channel.endpoints().await {
            Ok(nodes) => nodes,
            Err(status) => return self.fail(publish, status),
        };
        let present = versions(&nodes);
        if present.is_empty() {
            // Who was there will be back: a restart is no reason to forget what its methods are.
            return self.fail(publish, Status::unavailable("the service has no nodes"));
        }
        let before = self.editions.len();
        self.editions
            .retain(|edition| present.contains_key(&edition.version));
        self.failures.retain(|version, _| present.contains_key(version));
        let mut changed = self.editions.len() != before;
        let is_one_of_several = present.len() > 1;
        for (version, boots) in present {
            changed |= self.describe(version, boots, is_one_of_several).await;
        }
        if changed {
            self.publish(publish);
        } else if let Some(failure) = self.failures.values().next() {
            let status = failure.status.clone();
            self.fail(publish, status);
        }
    }

    /// Describes a version that is new, or no longer what it was; says whether anything changed.
    async fn describe(
        &mut self,
        version: Arc<str>,
        boots: BTreeSet<String>,
        is_one_of_several: bool,
    ) -> bool {
        let known = self
            .editions
            .iter()
            .position(|edition| edition.version == version);
        if known.is_some_and(|at| self.editions[at].holds_for(&boots)) {
            return false;
        }
        let failed = self.failures.get(&version);
        if failed.is_some_and(|failure| Instant::now() < failure.again) {
            return false;
        }
        let described =
            Edition::describe(&self.channel, Arc::clone(&version), boots, is_one_of_several).await;
        match described {
            Ok(edition) => {
                debug!(version = &*version, "described");
                self.failures.remove(&version);
                // What was known stays until something better is.
                match known {
                    Some(at) => self.editions[at] = edition,
                    None => self.editions.push(edition),
                }
                true
            }
            Err(status) => {
                let wait = failed.map_or(RETRY_MIN, |failure| (failure.wait * 2).min(RETRY_MAX));
                let again = Instant::now() + wait;
                debug!(version = &*version, %status, "could not be described");
                self.failures.insert(version, Failure { status, wait, again });
                false
            }
        }
    }

    fn publish(&self, publish: &watch::Sender<Known>) {
        match edition::table(&self.service, &self.channel, &self.editions, &self.exports) {
            Ok(table) => {
                publish.send_replace(Some(Ok(Arc::new(table))));
            }
            Err(error) => {
                warn!(%error, "the descriptors of a service cannot be used");
                self.fail(publish, Status::internal("descriptors that cannot be used"));
            }
        }
    }

    /// Says why nothing is known; what is known stays.
    fn fail(&self, publish: &watch::Sender<Known>, status: Status) {
        publish.send_if_modified(|known| {
            let is_news = !matches!(known, Some(Ok(_)));
            if is_news {
                *known = Some(Err(status));
            }
            is_news
        });
    }
}

/// The starts of the nodes of each version; of too many, the newest.
fn versions(nodes: &[EndpointStatus]) -> BTreeMap<Arc<str>, BTreeSet<String>> {
    let mut versions: BTreeMap<Arc<str>, BTreeSet<String>> = BTreeMap::new();
    for status in nodes {
        let boots = versions.entry(status.node.version().into()).or_default();
        boots.insert(status.node.boot().to_owned());
    }
    while versions.len() > EDITIONS_MAX {
        let Some(oldest) = versions.keys().min_by(|a, b| edition::compare(a, b)).cloned() else {
            break;
        };
        versions.remove(&oldest);
    }
    versions
}
