//! One node as the control task sees it: idle, connecting, ready or backing off.

mod failing;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use micro_registry::Node;
use tokio::time::Instant;

use self::failing::DOUBT_INTERVAL;
use super::{
    candidate::{Candidate, Flags, authority},
    connection::Connection,
    endpoints::Attempt,
    outlier::Ejection,
    peer::Peer,
    row::Seat,
    spot::Spot,
    status::{EndpointState, EndpointStatus},
    subset::{NAMED_FOR, rank},
};
use crate::control::Owned;

/// The wait after the first failed connect; each further one waits 1.6 times as long (gRPC connection backoff).
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_FACTOR: f64 = 1.6;
/// The longest wait: a server that was paused is back in use this soon.
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// How long a server that is another service is left alone, unless its record changes.
const REFUSED_FOR: Duration = Duration::from_secs(30);
/// A connection that ended sooner than this and answered no call counts as a failed connect.
const SHORT_LIVED: Duration = Duration::from_secs(1);

/// A node and the connections to it.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) node: Arc<Node>,
    /// The place in the order in which this client connects ahead.
    pub(super) rank: u64,
    state: State,
    /// The connect that was started last: what it makes is of no use to another endpoint.
    pub(super) attempt: Option<Attempt>,
    /// Until when the node is kept although the registry no longer lists it; `None` while it is listed.
    pub(super) held_until: Option<Instant>,
    pub(super) failures: u32,
    /// Until when it counts as named by a call.
    named_until: Option<Instant>,
    connections: Vec<Held>,
    pub(super) spot: Seat<Spot>,
    pub(super) flags: Arc<Flags>,
    ejection: Ejection,
    /// Since when its calls fail without an answer to any of them: a new connection must speak before it is picked.
    doubted_since: Option<Instant>,
    /// When it was doubted last.
    doubted_at: Option<Instant>,
    /// What was published last; rebuilt when something it shows has changed.
    published: Option<Arc<Candidate>>,
}

/// What happens to make the endpoint ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing: it is not wanted now, or it has what it needs.
    Idle,
    /// A connection is being made.
    Connecting,
    /// The last connect failed; the next one comes at this time.
    Backoff(Instant),
}

#[derive(Debug)]
struct Held {
    connection: Arc<Connection>,
    since: Instant,
    /// Listens to the node's health; a stream of the connection, so that it ends with this.
    _health: Option<Owned<()>>,
}

impl Endpoint {
    pub(super) fn new(node: Arc<Node>, client: u64, spot: Seat<Spot>) -> Self {
        Self {
            rank: rank(client, node.id()),
            node,
            state: State::Idle,
            attempt: None,
            held_until: None,
            failures: 0,
            named_until: None,
            connections: Vec::new(),
            spot,
            flags: Arc::default(),
            ejection: Ejection::default(),
            doubted_since: None,
            doubted_at: None,
            published: None,
        }
    }

    /// Takes in a newer record of the same process. `false` when the record is of another one: a restart or a move.
    pub(super) fn update(&mut self, node: &Arc<Node>) -> bool {
        if self.node.boot() != node.boot() || self.node.address() != node.address() {
            return false;
        }
        self.held_until = None;
        if self.node != *node {
            self.node = Arc::clone(node);
            self.published = None;
        }
        true
    }

    /// Whether a call can be sent: a connection lives and takes streams.
    pub(super) fn is_ready(&self) -> bool {
        self.connections.iter().any(|held| !held.connection.is_closing())
    }

    /// Whether the node said last that it does not serve at present.
    pub(super) fn is_out_of_service(&self) -> bool {
        self.flags.not_serving.load(Ordering::Relaxed)
    }

    /// Whether the failed connects of late make another node the better choice for connecting ahead.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0 && !self.is_ready()
    }

    /// Whether there are connections, though they may take no more streams.
    pub(super) fn has_connections(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Whether a call named this node, be it long ago.
    pub(super) fn was_named(&self) -> bool {
        self.named_until.is_some()
    }

    /// Whether a connection is being made.
    pub(super) fn is_connecting(&self) -> bool {
        self.state == State::Connecting
    }

    /// How many connections take streams.
    fn open_connections(&self) -> usize {
        self.connections
            .iter()
            .filter(|held| !held.connection.is_closing())
            .count()
    }

    /// Whether to start a connect now; if so, it counts as started. `wanted` asks for a first connection.
    pub(super) fn wants_connection(&mut self, wanted: bool, connections_max: usize, now: Instant) -> bool {
        match self.state {
            State::Connecting => return false,
            State::Backoff(until) if until > now => return false,
            State::Backoff(_) | State::Idle => self.state = State::Idle,
        }
        if self.held_until.is_some() {
            return false;
        }
        let doubted = self.is_doubted();
        if !doubted {
            self.doubted_since = None;
        }
        let open = self.open_connections();
        let full = (1..connections_max).contains(&open) && self.flags.full.load(Ordering::Relaxed);
        let starts = full || (open == 0 && wanted) || (open > 0 && doubted);
        if starts {
            self.state = State::Connecting;
        }
        starts
    }

    /// Whether it has what it needs, and nothing is due.
    pub(super) fn is_at_rest(&self) -> bool {
        self.state == State::Idle
            && self.has_connections()
            && self.held_until.is_none()
            && self.ejection.was_never()
            && self.doubted_since.is_none()
            && !self.flags.streak.is_doubtful()
            && !self.flags.full.load(Ordering::Relaxed)
    }

    /// Remembers that a call named this node.
    pub(super) fn named(&mut self, now: Instant) {
        self.named_until = Some(now + NAMED_FOR);
    }

    /// Forgets that a call named this node, once that is long ago.
    pub(super) fn forget_name(&mut self, now: Instant) {
        self.named_until = self.named_until.filter(|until| *until > now);
    }

    /// Lets go of the connections, which end with their last stream, and of the next try. A node that the registry no
    /// longer lists keeps them: they alone speak for it.
    pub(super) fn rest_unless_held(&mut self) {
        if self.held_until.is_some() {
            return;
        }
        if !self.connections.is_empty() {
            self.connections.clear();
            self.published = None;
        }
        if let State::Backoff(_) = self.state {
            self.state = State::Idle;
        }
    }

    /// When something is due without anything happening.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let retry = match self.state {
            State::Backoff(until) => Some(until),
            State::Idle | State::Connecting => None,
        };
        let ejected = self.ejection.ends(now).filter(|_| self.has_connections());
        // Calls tell of their doubts once, which may have been too early.
        let doubt = self.doubted_at.map(|at| at + DOUBT_INTERVAL);
        let doubt = doubt.filter(|at| *at > now && self.flags.streak.is_doubtful());
        retry
            .into_iter()
            .chain(self.held_until)
            .chain(ejected)
            .chain(doubt)
            .min()
    }

    pub(super) fn connected(&mut self, connection: Arc<Connection>, health: Option<Owned<()>>, now: Instant) {
        self.state = State::Idle;
        if self.doubted_since.take().is_some() {
            // Those before it end with their streams, or when nobody answers their pings.
            self.connections.clear();
        }
        self.connections.push(Held {
            connection,
            since: now,
            _health: health,
        });
        self.flags.full.store(false, Ordering::Relaxed);
        self.published = None;
    }

    pub(super) fn connect_failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let exponent = self.failures.saturating_sub(1).min(20);
        let wait = BACKOFF_FIRST
            .mul_f64(BACKOFF_FACTOR.powf(f64::from(exponent)))
            .min(BACKOFF_MAX);
        // Between 0.8 and 1.2 of it, so that clients do not knock together.
        self.state = State::Backoff(now + wait.mul_f64(0.8 + 0.4 * fastrand::f64()));
    }

    /// Forgets an ended connection. One that was short-lived and of no use counts as a failed connect.
    pub(super) fn disconnected(&mut self, id: u64, now: Instant) {
        let Some(at) = self.connections.iter().position(|held| held.connection.id == id) else {
            return;
        };
        let held = self.connections.swap_remove(at);
        self.published = None;
        // What it said was said on a connection that is gone.
        self.flags.not_serving.store(false, Ordering::Relaxed);
        self.flags.full.store(false, Ordering::Relaxed);
        if held.connection.has_answered() || now.duration_since(held.since) >= SHORT_LIVED {
            self.failures = 0;
        } else if self.state == State::Idle && !self.is_ready() {
            self.connect_failed(now);
        }
    }

    /// Whether calls have found something here that the control task has to look at.
    pub(super) fn wants_attention(&self) -> bool {
        self.flags.refused.load(Ordering::Relaxed)
            || self.flags.streak.ejects()
            || self.flags.streak.is_doubtful()
            || self.connections.iter().any(|held| held.connection.is_closing())
    }

    /// Remembers what went wrong.
    pub(super) fn set_last_error(&mut self, error: impl Into<Arc<str>>, now: Instant) {
        self.flags.last_failure.set(error, now);
    }

    /// Forgets connections that take no new streams: their last ones end without us.
    pub(super) fn retire_closing(&mut self, now: Instant) {
        let is_closing = |held: &&Held| held.connection.is_closing();
        while let Some(id) = self
            .connections
            .iter()
            .find(is_closing)
            .map(|held| held.connection.id)
        {
            self.disconnected(id, now);
        }
    }

    /// Leaves a server alone that said it is another service.
    pub(super) fn refused(&mut self, now: Instant) {
        self.connections.clear();
        self.published = None;
        self.failures = self.failures.saturating_add(1);
        self.state = State::Backoff(now + REFUSED_FOR);
    }

    /// What calls pick from; `None` while nothing is ready.
    pub(super) fn ready(&mut self, now: Instant) -> Option<Arc<Candidate>> {
        let failing = self.ejection.is_ejected(now) || self.is_doubted();
        if !failing {
            self.ejection.over();
        }
        let ejected = failing || self.is_out_of_service();
        let is_current = |published: &Arc<Candidate>| published.ejected == ejected;
        if !self.published.as_ref().is_some_and(is_current) {
            self.published = if self.is_ready() {
                self.candidate(ejected)
            } else {
                None
            };
        }
        self.published.clone()
    }

    fn candidate(&self, ejected: bool) -> Option<Arc<Candidate>> {
        Some(Arc::new(Candidate {
            peer: Peer::new(Arc::clone(&self.node)),
            authority: authority(&self.node)?,
            spot: self.spot.clone(),
            flags: Arc::clone(&self.flags),
            connections: self
                .connections
                .iter()
                .map(|held| Arc::clone(&held.connection))
                .filter(|connection| !connection.is_closing())
                .collect(),
            ejected,
        }))
    }

    /// What is known of it, to show it.
    pub(super) fn status(&self, now: Instant) -> EndpointStatus {
        let ejected_until = self.ejection.ends(now);
        let (last_error, last_error_age) = self.flags.last_failure.shown(now).unzip();
        let state = match self.state {
            _ if ejected_until.is_some() || self.is_doubted() => EndpointState::Ejected,
            _ if self.is_ready() && self.is_out_of_service() => EndpointState::NotServing,
            _ if self.is_ready() => EndpointState::Ready,
            State::Connecting => EndpointState::Connecting,
            State::Backoff(until) if until > now => EndpointState::Backoff,
            State::Idle | State::Backoff(_) => EndpointState::Idle,
        };
        EndpointStatus {
            node: Arc::clone(&self.node),
            state,
            held: self.held_until.is_some(),
            connections: self.open_connections(),
            in_flight: self.spot.load.in_flight(),
            latency: self.spot.load.latency(now),
            ejected_for: ejected_until.map(|until| until - now).unwrap_or_default(),
            last_error,
            last_error_age: last_error_age.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
