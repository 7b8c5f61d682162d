//! Renews a node as the framework does, and looks on what a watcher is told meanwhile.

use std::time::{Duration, Instant};

use micro_registry::{ErrorKind, Node, Registry, Snapshot};
use micro_registry_consul::Consul;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

/// How long an attempt waits after one that failed: as long as the framework does at most, or less.
const RETRY_WAIT: Duration = Duration::from_secs(2);
/// No test waits longer for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Renews a node until it is dropped.
#[derive(Debug)]
pub(crate) struct Keeper {
    renewals: watch::Receiver<Renewals>,
    _task: JoinSet<()>,
}

/// What came of the renewals.
#[derive(Clone, Debug, Default)]
pub(crate) struct Renewals {
    pub(crate) taken: usize,
    pub(crate) errors: Vec<ErrorKind>,
}

/// Follows a service until it is dropped, watching again after each error.
#[derive(Debug)]
pub(crate) struct Onlooker {
    seen: watch::Receiver<Vec<Snapshot>>,
    _task: JoinSet<()>,
}

impl Keeper {
    /// Registers `node`, and renews it three times a ttl.
    pub(crate) async fn start(registry: Consul, node: Node, ttl: Duration) -> Self {
        let mut keeper = Self::begin(registry, node, ttl);
        keeper.renewed(1).await;
        keeper
    }

    /// As [`start`](Self::start), without waiting for the first registration.
    pub(crate) fn begin(registry: Consul, node: Node, ttl: Duration) -> Self {
        let (sender, renewals) = watch::channel(Renewals::default());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let wait = ttl / 3;
            loop {
                let is_taken = time::timeout(wait, registry.register(&node, ttl)).await;
                let rest = if matches!(is_taken, Ok(Ok(()))) {
                    wait
                } else {
                    RETRY_WAIT
                };
                sender.send_modify(|renewals| match is_taken {
                    Ok(Ok(())) => renewals.taken += 1,
                    Ok(Err(error)) => renewals.errors.push(error.kind()),
                    Err(_) => renewals.errors.push(ErrorKind::Unavailable),
                });
                tick(rest).await;
            }
        });
        Self {
            renewals,
            _task: task,
        }
    }

    /// What came of the renewals so far.
    pub(crate) fn renewals(&self) -> Renewals {
        self.renewals.borrow().clone()
    }

    /// Waits until `count` renewals have failed.
    pub(crate) async fn failed(&mut self, count: usize) {
        let failed = self.renewals.wait_for(|renewals| renewals.errors.len() >= count);
        time::timeout(LIMIT, failed)
            .await
            .expect("failed in time")
            .expect("the keeper lives");
    }

    /// Waits for `count` renewals more that are taken.
    pub(crate) async fn renewed(&mut self, count: usize) {
        let enough = self.renewals().taken + count;
        let renewed = self.renewals.wait_for(|renewals| renewals.taken >= enough);
        time::timeout(LIMIT, renewed)
            .await
            .expect("renewed in time")
            .expect("the keeper lives");
    }
}

impl Onlooker {
    /// Begins.
    pub(crate) fn start(registry: Consul, service: &str) -> Self {
        let (sender, seen) = watch::channel(Vec::new());
        let (service, mut task) = (service.to_owned(), JoinSet::new());
        task.spawn(async move {
            loop {
                let mut watcher = registry.watch(&service).await.expect("a good name");
                while let Some(Ok(snapshot)) = watcher.next().await {
                    sender.send_modify(|seen: &mut Vec<Snapshot>| seen.push(snapshot));
                }
                tick(RETRY_WAIT).await;
            }
        });
        Self { seen, _task: task }
    }

    /// All that was seen.
    pub(crate) fn seen(&self) -> Vec<Snapshot> {
        self.seen.borrow().clone()
    }

    /// Waits until the last that was seen has exactly these ids; answers how long that took.
    pub(crate) async fn sees(&mut self, ids: &[&str]) -> Duration {
        let begun = Instant::now();
        let seen = self
            .seen
            .wait_for(|seen| seen.last().is_some_and(|last| ids_of(last) == ids));
        if let Ok(seen) = time::timeout(LIMIT, seen).await {
            seen.expect("the onlooker lives");
            return begun.elapsed();
        }
        panic!("waited in vain for {ids:?}: {:?}", self.seen().last());
    }
}

pub(crate) fn ids_of(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().iter().map(|node| node.id()).collect()
}

/// Waits until `registry` lists exactly these ids; answers how long that took.
pub(crate) async fn eventually_lists(registry: &Consul, service: &str, ids: &[&str]) -> Duration {
    let begun = Instant::now();
    loop {
        let listed = registry.get_service(service).await;
        if listed.as_ref().is_ok_and(|listed| ids_of(listed) == ids) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < LIMIT, "waited in vain for {ids:?}: {listed:?}");
        time::sleep(POLL_INTERVAL).await;
    }
}

/// Asserts that `registry` lists exactly these ids, again and again for `time`.
pub(crate) async fn keeps_listing(registry: &Consul, service: &str, ids: &[&str], time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        match registry.get_service(service).await {
            Ok(listed) => assert_eq!(ids_of(&listed), ids, "after {:?}", begun.elapsed()),
            // That nobody answers takes nobody away.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}"),
        }
        time::sleep(POLL_INTERVAL).await;
    }
}

/// One tick of a clock that ticks every `period`.
async fn tick(period: Duration) {
    let mut clock = time::interval(period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.tick().await;
    clock.tick().await;
}
