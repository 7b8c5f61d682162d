//! A server in this process that does what etcd does, and what no etcd can be made to do.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use micro_registry::{Error, ErrorKind, Kept, Result, ServiceName, SkippedRecords, Watcher};
use tokio::sync::watch;

use super::super::{Content, Event, Follower, Message, Position, Source, Stream};
use crate::{
    keys::Keys,
    nodes::{Draft, Nodes},
};

/// A store with its history, and those who watch it.
pub(super) struct Server {
    state: watch::Sender<State>,
    /// Messages that come before any other, whatever is true.
    said: Said,
    /// What happens between a list and the watch after it.
    before_watch: Mutex<Option<fn(&Server)>>,
    pub(super) lists: AtomicUsize,
    pub(super) watches: AtomicUsize,
}

type Said = Arc<Mutex<VecDeque<Message>>>;

#[derive(Debug)]
struct State {
    /// Each change with its revision: the port of a node by its id, or that it is gone.
    history: Vec<(i64, String, Option<u16>)>,
    at: Position,
    compacted: i64,
    /// By how much what is watched is behind what is listed.
    lag: i64,
    /// What the server does not tell although it happened.
    untold: Option<i64>,
    is_silent: bool,
    is_away: bool,
    is_unlisted: bool,
}

pub(super) struct FakeStream {
    state: watch::Receiver<State>,
    said: Said,
    start: i64,
    /// The next revision to be told.
    next: i64,
    is_created: bool,
    is_asked: bool,
}

impl Server {
    /// A server at `revision` with a node.
    pub(super) fn start(revision: i64) -> Arc<Self> {
        let state = State {
            history: Vec::new(),
            at: Position { revision, term: 7 },
            compacted: 0,
            lag: 0,
            untold: None,
            is_silent: false,
            is_away: false,
            is_unlisted: false,
        };
        let server = Arc::new(Self {
            state: watch::Sender::new(state),
            said: Said::default(),
            before_watch: Mutex::default(),
            lists: AtomicUsize::new(0),
            watches: AtomicUsize::new(0),
        });
        server.put("a", 1);
        server
    }

    pub(super) fn watcher(self: &Arc<Self>) -> Watcher {
        let skipped = Arc::new(SkippedRecords::new(crate::NAME));
        let service: ServiceName = "greeter".parse().unwrap();
        let none = || Nodes::new(service.clone(), &Keys::default(), skipped);
        let nodes = Arc::<Kept<Nodes>>::default().lend(&service, none);
        let follower = Follower::new(Arc::clone(self), nodes);
        Watcher::spawn(|sender| follower.follow(sender))
    }

    pub(super) fn put(&self, id: &str, port: u16) {
        self.change(&[(id, Some(port))]);
    }

    pub(super) fn delete(&self, id: &str) {
        self.change(&[(id, None)]);
    }

    /// Makes changes in one transaction.
    pub(super) fn change(&self, changes: &[(&str, Option<u16>)]) {
        self.state.send_modify(|state| {
            state.at.revision += 1;
            let revision = state.at.revision;
            let changes = changes
                .iter()
                .map(|(id, port)| (revision, (*id).to_owned(), *port));
            state.history.extend(changes);
        });
    }

    /// Loses everything, while connections stand.
    pub(super) fn wipe(&self) {
        self.state.send_modify(|state| {
            state.history.clear();
            (state.at.revision, state.compacted) = (1, 0);
        });
    }

    pub(super) fn elect(&self, term: u64) {
        self.state.send_modify(|state| state.at.term = term);
    }

    pub(super) fn compact(&self) {
        self.state
            .send_modify(|state| state.compacted = state.at.revision);
    }

    pub(super) fn lag(&self, revisions: i64) {
        self.state.send_modify(|state| state.lag = revisions);
    }

    /// The next change is not told to anybody who watches.
    pub(super) fn keep_next_change_quiet(&self) {
        self.state
            .send_modify(|state| state.untold = Some(state.at.revision + 1));
    }

    /// Says nothing any more, and ends no connection.
    pub(super) fn fall_silent(&self) {
        self.state.send_modify(|state| state.is_silent = true);
    }

    pub(super) fn go_away(&self) {
        self.state.send_modify(|state| state.is_away = true);
    }

    /// Refuses to list, and goes on telling those who watch already.
    pub(super) fn refuse_lists(&self) {
        self.state.send_modify(|state| state.is_unlisted = true);
    }

    pub(super) fn before_watch(&self, happens: fn(&Server)) {
        *self.before_watch.lock().unwrap() = Some(happens);
    }

    /// Says something that need not be true.
    pub(super) fn say(&self, at: Position, content: Content) {
        self.said.lock().unwrap().push_back(Message { at, content });
        self.state.send_modify(|_| {});
    }

    pub(super) fn at(&self) -> Position {
        self.state.borrow().at
    }

    pub(super) fn counts(&self) -> (usize, usize) {
        let read = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (read(&self.lists), read(&self.watches))
    }
}

pub(super) fn event(id: &str, revision: i64, port: Option<u16>) -> Event {
    Event {
        key: format!("/micro/registry/greeter/{id}").into_bytes(),
        revision,
        record: port.map(|port| format!(r#"{{"nodes":[{{"address":"10.0.0.7:{port}"}}]}}"#).into_bytes()),
    }
}

impl Source for Server {
    type Stream = FakeStream;

    async fn list(&self, nodes: &mut Nodes) -> Result<Position> {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let state = self.state.borrow();
        if state.is_away {
            return Err(away("list"));
        }
        if state.is_unlisted {
            return Err(Error::new(ErrorKind::PermissionDenied, "list"));
        }
        let changes = state.history.iter();
        let last: BTreeMap<_, _> = changes.map(|(_, id, port)| (id, *port)).collect();
        let mut draft = Draft::default();
        for (id, port) in last {
            let event = event(id, 0, port);
            if let Some(record) = event.record {
                nodes.add(&mut draft, &event.key, &record);
            }
        }
        nodes.replace(draft);
        Ok(state.at)
    }

    async fn watch(&self, _: &Nodes, from: i64) -> Result<FakeStream> {
        self.watches.fetch_add(1, Ordering::Relaxed);
        let happens = self.before_watch.lock().unwrap().take();
        if let Some(happens) = happens {
            happens(self);
        }
        Ok(FakeStream {
            state: self.state.subscribe(),
            said: Arc::clone(&self.said),
            start: from,
            next: from,
            is_created: false,
            is_asked: false,
        })
    }
}

impl FakeStream {
    /// What etcd would say now. As etcd does, it tells nothing that was deleted at the revision up to which everything
    /// is forgotten, and nothing to who waits for a revision that is yet to come.
    fn due(&mut self) -> Option<Result<Message>> {
        let state = self.state.borrow_and_update();
        if state.is_silent {
            return None;
        }
        if state.is_away {
            return Some(Err(away("watch")));
        }
        let mut at = state.at;
        at.revision -= state.lag;
        let say = |content| Some(Ok(Message { at, content }));
        if !self.is_created {
            self.is_created = true;
            let is_forgotten = self.start < state.compacted;
            return say(if is_forgotten {
                Content::Compacted
            } else {
                Content::Created
            });
        }
        if let Some(message) = self.said.lock().unwrap().pop_front() {
            return Some(Ok(message));
        }
        let first = state
            .history
            .partition_point(|(revision, ..)| *revision < self.next);
        let end = state
            .history
            .partition_point(|(revision, ..)| *revision <= at.revision);
        let is_told = |revision: i64, port: Option<u16>| {
            state.untold != Some(revision) && (port.is_some() || revision != state.compacted)
        };
        if first < end {
            let changes = state.history[first..end].iter();
            let told = changes.filter(|(revision, _, port)| is_told(*revision, *port));
            let events: Vec<_> = told
                .map(|(revision, id, port)| event(id, *revision, *port))
                .collect();
            self.next = at.revision + 1;
            if !events.is_empty() {
                let has_more = false;
                return say(Content::Events { events, has_more });
            }
        }
        // Newer servers give no sign of life of a watch that is to begin in the future; older ones do.
        if self.is_asked {
            self.is_asked = false;
            return say(Content::Progress);
        }
        None
    }
}

impl Stream for FakeStream {
    async fn message(&mut self) -> Result<Message> {
        loop {
            if let Some(message) = self.due() {
                return message;
            }
            self.state.changed().await.map_err(|_| away("watch"))?;
        }
    }

    async fn ask(&mut self) -> Result<()> {
        self.is_asked = true;
        Ok(())
    }

    fn given_up(&self, reason: &str) -> Error {
        away("watch").with_source(reason.to_owned())
    }
}

fn away(what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, what)
}
