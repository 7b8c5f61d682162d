//! A registry's server in this process, which can stop, lose everything, hold bad records and have a fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Method, Node, Result, ServiceName, Snapshot};
use tokio::{sync::watch, task, time::Instant};

/// What a registry does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    AwayHangs,
    AwayIsEmpty,
    BadEndsList,
    BadIsAnError,
    ChecksLate,
    ComparesIds,
    Deaf,
    Decodes,
    DeregistersOthers,
    EmptyIsAnError,
    ExpiresEarly,
    FirstEmpty,
    FirstOne,
    FoldsCase,
    Gap,
    KeepsLast,
    KeepsNames,
    KeepsUnary,
    LosesBoot,
    MatchesPrefix,
    MissesDeregistered,
    NeverDeregisters,
    NeverExpires,
    NeverRenews,
    OnePage,
    OneWatcher,
    SendsOnce,
    TakesAnyName,
    TakesOver,
}

/// What all processes share.
#[derive(Debug)]
pub(crate) struct Server {
    fault: Fault,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    is_away: bool,
    records: BTreeMap<(String, String), Record>,
    names: BTreeSet<String>,
    watches: u64,
}

#[derive(Clone, Debug)]
struct Record {
    /// Nothing, where another program wrote what no node can be made of.
    node: Option<Arc<Node>>,
    expires: Option<Instant>,
}

impl Server {
    pub(crate) fn start(fault: Fault) -> Self {
        Self {
            fault,
            state: Mutex::default(),
            changes: watch::Sender::default(),
        }
    }

    pub(crate) fn stop(&self) {
        self.state().is_away = true;
        self.changed();
    }

    pub(crate) fn start_empty(&self) {
        *self.state() = State::default();
    }

    pub(crate) fn write_bad(&self, service: &ServiceName) {
        let bad = Record {
            node: None,
            expires: None,
        };
        // Sorted before every id of the suite.
        self.state()
            .records
            .insert((service.to_string(), "!".into()), bad);
        self.changed();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the state is locked")
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Tells of every change after now.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The names of all services.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut state = self.state();
        state.expire();
        if self.has(Fault::KeepsNames) {
            return state.names.iter().cloned().collect();
        }
        let names: BTreeSet<_> = state.records.keys().map(|(service, _)| service.clone()).collect();
        names.into_iter().collect()
    }

    /// The number of a new watch.
    pub(crate) fn begin_watch(&self) -> u64 {
        let mut state = self.state();
        state.watches += 1;
        state.watches
    }

    /// How many watches there were.
    pub(crate) fn watches(&self) -> u64 {
        self.state().watches
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits for the server to answer, as a connection would.
    pub(crate) async fn reach(&self) -> Result<()> {
        task::yield_now().await;
        let is_away = self.state().is_away;
        if is_away && self.has(Fault::AwayHangs) {
            std::future::pending::<()>().await;
        }
        if is_away && !self.has(Fault::AwayIsEmpty) {
            return Err(Error::new(ErrorKind::Unavailable, "reach the server"));
        }
        Ok(())
    }

    fn key(&self, node: &Node) -> (String, String) {
        let id = if self.has(Fault::FoldsCase) {
            node.id().to_lowercase()
        } else {
            node.id().into()
        };
        (node.service().to_string(), id)
    }

    pub(crate) fn put(&self, node: &Node, ttl: Duration) -> Result<()> {
        let key = self.key(node);
        let mut state = self.state();
        state.expire();
        let held = state.records.get(&key).cloned();
        let other = held
            .as_ref()
            .and_then(|held| held.node.as_ref())
            .is_some_and(|held| held.boot() != node.boot());
        if other && !self.has(Fault::TakesOver) {
            return Err(Error::new(
                ErrorKind::Conflict,
                "register a node whose id is held",
            ));
        }
        if self.has(Fault::KeepsLast) {
            state.records.retain(|(service, _), _| *service != key.0);
        }
        let expires = match self.fault {
            Fault::NeverExpires => None,
            Fault::ExpiresEarly => Some(Instant::now() + ttl / 2),
            Fault::NeverRenews => held.map_or(Some(Instant::now() + ttl), |held| held.expires),
            _ => Some(Instant::now() + ttl),
        };
        let node = Some(Arc::new(self.stored(node)));
        state.names.insert(key.0.clone());
        state.records.insert(key, Record { node, expires });
        drop(state);
        self.changed();
        Ok(())
    }

    /// What becomes of a node on its way through the server.
    fn stored(&self, node: &Node) -> Node {
        let mut stored = Node::builder(node.service().clone(), node.id(), node.address().clone())
            .version(node.version())
            .methods(self.stored_methods(node));
        for (key, value) in node.stored_metadata() {
            let value = if self.has(Fault::Decodes) {
                value.replace("%2F", "/")
            } else {
                value.to_owned()
            };
            stored = stored.metadata(key, value);
        }
        if self.has(Fault::LosesBoot) {
            stored = stored.boot("");
        }
        stored.build().expect("made of a node")
    }

    fn stored_methods(&self, node: &Node) -> Vec<Method> {
        let is_kept = |method: &&Method| method.is_unary() || !self.has(Fault::KeepsUnary);
        node.methods().iter().filter(is_kept).cloned().collect()
    }

    pub(crate) fn take(&self, node: &Node) -> Result<()> {
        if self.has(Fault::NeverDeregisters) {
            return Ok(());
        }
        let key = self.key(node);
        let mut state = self.state();
        let held = state.records.get(&key).and_then(|held| held.node.clone());
        if held.is_none() && self.has(Fault::MissesDeregistered) {
            return Err(Error::new(
                ErrorKind::Protocol,
                "deregister a node that is not there",
            ));
        }
        let is_ours = held.is_some_and(|held| held.boot() == node.boot());
        if is_ours || self.has(Fault::DeregistersOthers) {
            state.records.remove(&key);
        }
        drop(state);
        self.changed();
        Ok(())
    }

    /// The nodes of `service`, and when the next of them goes.
    pub(crate) fn look(&self, service: &str) -> Result<(Snapshot, Option<Instant>)> {
        let mut state = self.state();
        state.expire();
        let is_match =
            |name: &str| name == service || (self.has(Fault::MatchesPrefix) && name.starts_with(service));
        let records: Vec<_> = state
            .records
            .iter()
            .filter(|((name, _), _)| is_match(name))
            .collect();
        let has_bad = records.iter().any(|(_, record)| record.node.is_none());
        let nodes = records.iter().filter_map(|(_, record)| record.node.clone());
        let snapshot = match self.fault {
            Fault::BadIsAnError if has_bad => {
                return Err(Error::new(ErrorKind::Protocol, "read a bad record"));
            }
            Fault::BadEndsList if has_bad => Snapshot::empty(),
            Fault::EmptyIsAnError if records.is_empty() => {
                return Err(Error::new(ErrorKind::Protocol, "find nobody"));
            }
            Fault::OnePage => Snapshot::new(nodes.take(500)),
            _ => Snapshot::new(nodes),
        };
        Ok((
            snapshot,
            records.iter().filter_map(|(_, record)| record.expires).min(),
        ))
    }
}

impl State {
    fn expire(&mut self) {
        let now = Instant::now();
        self.records
            .retain(|_, record| record.expires.is_none_or(|expires| expires > now));
    }
}
