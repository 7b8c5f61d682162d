//! What one seed of a scenario does: which faults strike when, and what must hold all the same.

use std::time::Duration;

use fastrand::Rng;

use crate::fault::{Fault, Link};

/// When the first fault strikes at the earliest: by then every server is connected to.
const CALM: Duration = Duration::from_secs(2);
/// How long after the last fault every server is called by every client again. A node whose calls took a second is
/// called again once that counts no more than what the others take, and each five seconds halve it.
pub(crate) const REUSED_WITHIN: Duration = Duration::from_secs(40);
/// In the last so much time of a load every server is called by every client.
pub(crate) const LAST: Duration = Duration::from_secs(10);

/// Which calls may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayFail {
    /// None.
    None,
    /// Those that must not be sent again when they perhaps ran.
    NotIdempotent,
    /// All, as there are times at which no server can be reached.
    Any,
}

/// One run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) timeout: Duration,
    pub(crate) hedge_delay: Option<Duration>,
    pub(crate) drain_delay: Duration,
    pub(crate) may_fail: MayFail,
    /// How soon after a node left no call reaches it any more, where clients are told in time.
    pub(crate) left_within: Option<Duration>,
    faults: Vec<(Duration, Fault)>,
    /// The end of what was planned last.
    end: Duration,
}

impl Plan {
    /// Three servers and two clients.
    pub(crate) fn new(may_fail: MayFail) -> Self {
        Self {
            servers: 3,
            clients: 2,
            timeout: Duration::from_secs(2),
            hedge_delay: None,
            drain_delay: Duration::from_millis(500),
            may_fail,
            left_within: None,
            faults: Vec::new(),
            end: CALM,
        }
    }

    /// Moves on by between `min_ms` and `max_ms`.
    pub(crate) fn pass(&mut self, random: &mut Rng, min_ms: u64, max_ms: u64) {
        self.end += Duration::from_millis(random.u64(min_ms..=max_ms));
    }

    /// This happens at the end of what was planned so far.
    pub(crate) fn strike(&mut self, fault: Fault) {
        self.faults.push((self.end, fault));
    }

    /// The same for the links of these clients to `server`.
    pub(crate) fn links(&mut self, clients: &[usize], server: usize, link: Link) {
        for client in clients {
            self.strike(Fault::Link {
                client: *client,
                server,
                link,
            });
        }
    }

    /// All clients, or one of them.
    pub(crate) fn some_clients(&self, random: &mut Rng) -> Vec<usize> {
        if random.bool() {
            return (0..self.clients).collect();
        }
        vec![random.usize(..self.clients)]
    }

    pub(crate) fn any_server(&self, random: &mut Rng) -> usize {
        random.usize(..self.servers)
    }

    /// When the last call is made.
    pub(crate) fn load_until(&self) -> Duration {
        self.end + REUSED_WITHIN + LAST
    }

    /// The faults in the order in which they strike.
    pub(crate) fn faults(&self) -> impl Iterator<Item = (Duration, Fault)> {
        let mut faults = self.faults.clone();
        faults.sort_by_key(|(at, _)| *at);
        faults.into_iter()
    }
}
