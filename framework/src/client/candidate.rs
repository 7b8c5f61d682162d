//! A node that calls can go to, as policies see it.

use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use http::uri::Authority;
use micro_registry::Node;
use tokio::time::Instant;

use super::{
    connection::Connection, failure::LastFailure, peer::Peer, row::Seat, spot::Spot, streak::Streak,
};

/// A node that calls can go to, as a [`Balancer`](crate::Balancer) and its [`Pick`](crate::Pick) see it.
///
/// ```
/// use micro::{Candidate, registry::Node};
///
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).metadata("zone", "a");
/// let candidate = Candidate::detached(node.build()?);
/// assert_eq!(candidate.node().metadata()["zone"], "a");
/// assert_eq!(candidate.in_flight(), 0);
/// # Ok::<(), micro::registry::Error>(())
/// ```
pub struct Candidate {
    pub(super) peer: Peer,
    pub(super) authority: Authority,
    pub(super) spot: Seat<Spot>,
    pub(super) flags: Arc<Flags>,
    pub(super) connections: Box<[Arc<Connection>]>,
    /// Whether its calls failed in a row, or it says that it does not serve: then it is left out unless most are.
    pub(super) ejected: bool,
}

/// What calls tell the control task about an endpoint.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// All connections are full: another one is wanted.
    pub(super) full: AtomicBool,
    /// The server is another service.
    pub(super) refused: AtomicBool,
    /// The server says that it does not serve at present.
    pub(super) not_serving: AtomicBool,
    /// How many calls have failed in a row.
    pub(super) streak: Streak,
    /// What went wrong last, for those who look.
    pub(super) last_failure: LastFailure,
}

impl Candidate {
    /// A candidate without a connection, to test a policy with.
    ///
    /// # Panics
    ///
    /// Never: the address of a node always is the authority of a request.
    #[must_use]
    pub fn detached(node: Node) -> Self {
        let authority = authority(&node).expect("a checked address is an authority");
        Self {
            peer: Peer::new(Arc::new(node)),
            authority,
            spot: Seat::default(),
            flags: Arc::default(),
            connections: Box::default(),
            ejected: false,
        }
    }

    /// The node, with its version and metadata.
    #[must_use]
    pub fn node(&self) -> &Node {
        self.peer.node()
    }

    /// How many calls of this client the node has: a stream counts until it ends.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.spot.load.in_flight()
    }

    /// How long the node takes to answer at `now`: a slow answer counts at once, faster ones by and by, and an answer
    /// that is waited for counts as one that took so long. Zero until it has answered.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Duration {
        self.spot.load.latency(now)
    }

    /// What one more call would cost at `now`: latency times calls in flight. Comparable between nodes, of no unit.
    #[must_use]
    pub fn cost(&self, now: Instant) -> f64 {
        self.spot.load.cost(now)
    }

    /// The numbers of its connections.
    pub(super) fn connection_ids(&self) -> impl Iterator<Item = u64> {
        self.connections.iter().map(|connection| connection.id)
    }

    /// All that a pick looks at, if the node has one connection, whose places stand beside its load, as is usual.
    pub(super) fn only(&self) -> Option<&Seat<Spot>> {
        let [only] = &*self.connections else {
            return None;
        };
        only.streams.is_at(&self.spot).then_some(&self.spot)
    }

    /// Takes a place on the connection with the fewest streams, other than those in `tried`. Says which it is.
    pub(super) fn reserve(&self, tried: &[u64]) -> Option<usize> {
        let is_untried = |at: &usize| !tried.contains(&self.connections[*at].id);
        let mut untried: Vec<_> = (0..self.connections.len()).filter(is_untried).collect();
        untried.sort_by_key(|at| self.connections[*at].streams.taken());
        untried.into_iter().find(|at| self.connections[*at].reserve())
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("node", self.node())
            .field("in_flight", &self.in_flight())
            .field("ejected", &self.ejected)
            .finish_non_exhaustive()
    }
}

/// The `:authority` of requests. A checked address always is one.
pub(super) fn authority(node: &Node) -> Option<Authority> {
    Authority::try_from(node.address().to_string()).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use super::{super::connection::tests::connection, *};

    /// A node whose connections, numbered from `first`, take two streams each.
    pub(in super::super) async fn ready(node: Node, first: u64, connections: u64) -> Arc<Candidate> {
        let mut open = Vec::new();
        for number in first..first + connections {
            let (connection, driver) = connection(number, 2).await;
            // Lives as long as the test: without it the connection is closed.
            tokio::spawn(driver);
            open.push(Arc::new(connection));
        }
        let mut candidate = Candidate::detached(node);
        candidate.connections = open.into();
        Arc::new(candidate)
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_with_the_fewest_streams_is_taken_until_all_are_full() {
        let node = Node::builder("greeter".parse().unwrap(), "a", "127.0.0.1:9090".parse().unwrap());
        let ready = ready(node.build().unwrap(), 1, 2).await;
        assert!(ready.connections[0].reserve());
        assert_eq!(ready.reserve(&[]), Some(1));
        assert!(ready.reserve(&[]).is_some() && ready.reserve(&[]).is_some());
        assert!(ready.reserve(&[]).is_none());
        ready.connections[0].release();
        assert!(ready.reserve(&[1]).is_none());
        assert_eq!(ready.reserve(&[]), Some(0));
    }
}
