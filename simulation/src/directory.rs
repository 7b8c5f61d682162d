//! The registry of a simulation: it knows who is there, and tells it late, in disorder or not at all if a fault says so.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use micro::registry::{Error, ErrorKind, Node, Registry, Result, Snapshot, Watcher};
use tokio::{sync::watch, time};

use crate::world::now;

/// The longest that a registry which does its work takes to tell.
pub(crate) const DELAY_MAX: Duration = Duration::from_millis(100);
/// The longest that a late one takes.
const LATE_MAX: Duration = Duration::from_secs(4);

/// How the registry does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Tells what is there, soon.
    Sound,
    /// Tells what is there, late.
    Late,
    /// Tells what was there at some time.
    Outdated,
    /// Tells that nothing is there.
    Empty,
    /// Answers with errors.
    Away,
}

/// What the hosts of one simulation have in common.
#[derive(Debug)]
pub(crate) struct Directory {
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    nodes: BTreeMap<String, Entry>,
    /// All that ever was.
    past: Vec<Snapshot>,
    mode: Mode,
    /// Who left by itself, and when.
    withdrawn: BTreeMap<String, Duration>,
}

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    expires: Duration,
}

/// The registry as one host sees it.
#[derive(Clone, Debug)]
pub(crate) struct Backend(pub(crate) Arc<Directory>);

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                nodes: BTreeMap::new(),
                past: vec![Snapshot::empty()],
                mode: Mode::Sound,
                withdrawn: BTreeMap::new(),
            }),
            changes: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is locked")
    }

    /// Does its work in this way from now on, and tells all who watch.
    pub(crate) fn set(&self, mode: Mode) {
        self.state().mode = mode;
        self.changes.send_modify(|count| *count += 1);
    }

    pub(crate) fn len(&self) -> usize {
        self.state().nodes.len()
    }

    /// When the node `id` left by itself.
    pub(crate) fn withdrawn(&self, id: &str) -> Option<Duration> {
        self.state().withdrawn.get(id).copied()
    }

    /// Forgets those whose time has passed.
    pub(crate) fn expire(&self, now: Duration) {
        self.change(|state| state.nodes.retain(|_, entry| entry.expires > now));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let snapshot = Snapshot::new(state.nodes.values().map(|entry| Arc::clone(&entry.node)));
        if state.past.last() != Some(&snapshot) {
            state.past.push(snapshot);
            drop(state);
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// What is told at present, and after how long.
    fn told(&self) -> Result<(Duration, Snapshot)> {
        let state = self.state();
        let truth = state.past.last().expect("the beginning is past").clone();
        let soon = DELAY_MAX.mul_f64(fastrand::f64());
        match state.mode {
            Mode::Sound => Ok((soon, truth)),
            Mode::Late => Ok((LATE_MAX.mul_f64(fastrand::f64()), truth)),
            Mode::Outdated => {
                let at = fastrand::usize(..state.past.len());
                Ok((soon, state.past[at].clone()))
            }
            Mode::Empty => Ok((soon, Snapshot::empty())),
            Mode::Away => Err(Error::new(ErrorKind::Unavailable, "the registry is away")),
        }
    }

    /// An answer to a request, after a while.
    async fn answers(&self) -> Result<Snapshot> {
        let (delay, snapshot) = self.told()?;
        time::sleep(delay.min(DELAY_MAX)).await;
        Ok(snapshot)
    }
}

#[async_trait]
impl Registry for Backend {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.0.answers().await?;
        let held = self
            .0
            .state()
            .nodes
            .get(node.id())
            .map(|entry| entry.node.boot().to_owned());
        if held.is_some_and(|boot| boot != node.boot()) {
            return Err(Error::new(ErrorKind::Conflict, "another boot holds the id"));
        }
        let (node, expires) = (Arc::new(node.clone()), now() + ttl);
        self.0.change(|state| {
            state.nodes.insert(node.id().to_owned(), Entry { node, expires });
        });
        Ok(())
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.0.answers().await?;
        self.0.change(|state| {
            state.nodes.remove(node.id());
            state.withdrawn.insert(node.id().to_owned(), now());
        });
        Ok(())
    }

    async fn get_service(&self, _service: &str) -> Result<Snapshot> {
        self.0.answers().await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        let snapshot = self.0.answers().await?;
        let first = snapshot.nodes().first();
        Ok(first.map(|node| node.service().to_string()).into_iter().collect())
    }

    async fn watch(&self, _service: &str) -> Result<Watcher> {
        let directory = Arc::clone(&self.0);
        let mut changes = directory.changes.subscribe();
        Ok(Watcher::spawn(|sender| async move {
            loop {
                changes.borrow_and_update();
                let (delay, snapshot) = directory.told()?;
                time::sleep(delay).await;
                sender.send(snapshot);
                if changes.changed().await.is_err() {
                    return Err(Error::new(ErrorKind::Unavailable, "the simulation is over"));
                }
            }
        }))
    }

    fn name(&self) -> &'static str {
        "simulated"
    }
}
