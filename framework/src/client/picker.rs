//! What a call picks from: an immutable list of the endpoints that are ready, and how one is chosen.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use http::uri::Authority;
use micro_registry::{Error, Snapshot};
use tokio::time::Instant;

use super::{connection::Connection, load::Load, methods::Methods, peer::Peer, settings::Policy};

/// Loads within this factor count as equal and are chosen between at random: sooner than that they differ by chance.
const EQUAL_WITHIN: f64 = 1.5;

/// What was known when it was published: replaced as a whole, never changed.
#[derive(Debug, Default)]
pub(super) struct Picker {
    /// Endpoints with a connection, sorted by node id.
    pub(super) ready: Box<[Arc<Ready>]>,
    pub(super) methods: Arc<Methods>,
    pub(super) known: Known,
}

/// What is known beyond the endpoints that are ready, for those who find none.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// What the registry said last; `None` until it has answered.
    pub(super) snapshot: Option<Snapshot>,
    /// Why the registry does not answer at present.
    pub(super) registry_failure: Option<Arc<Error>>,
    /// Why the last connection could not be made.
    pub(super) connect_failure: Option<Arc<str>>,
    /// Whether an endpoint that is not ready may become so.
    pub(super) pending: bool,
}

/// An endpoint with at least one connection.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) peer: Peer,
    pub(super) authority: Authority,
    pub(super) load: Arc<Load>,
    pub(super) flags: Arc<Flags>,
    pub(super) connections: Box<[Arc<Connection>]>,
}

/// What calls tell the control task about an endpoint.
#[derive(Debug, Default)]
pub(super) struct Flags {
    /// All connections are full: another one is wanted.
    pub(super) full: AtomicBool,
    /// The server is another service.
    pub(super) refused: AtomicBool,
}

impl Picker {
    /// Whether nobody can tell `other` from this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (known, others) = (&self.known, &other.known);
        self.ready.len() == other.ready.len()
            && self
                .ready
                .iter()
                .zip(&other.ready)
                .all(|(one, other)| Arc::ptr_eq(one, other))
            && Arc::ptr_eq(&self.methods, &other.methods)
            && known.pending == others.pending
            && known.snapshot.as_ref().map(Snapshot::nodes).map(<[_]>::as_ptr)
                == others.snapshot.as_ref().map(Snapshot::nodes).map(<[_]>::as_ptr)
            && same(known.registry_failure.as_ref(), others.registry_failure.as_ref())
            && same(known.connect_failure.as_ref(), others.connect_failure.as_ref())
    }
}

fn same<T: ?Sized>(one: Option<&Arc<T>>, other: Option<&Arc<T>>) -> bool {
    one.map(Arc::as_ptr) == other.map(Arc::as_ptr)
}

impl Ready {
    /// The numbers of its connections.
    pub(super) fn connection_ids(&self) -> impl Iterator<Item = u64> {
        self.connections.iter().map(|connection| connection.id)
    }

    /// Takes a place on the connection with the fewest streams, other than those in `tried`.
    fn reserve(&self, tried: &[u64]) -> Option<Arc<Connection>> {
        if let [only] = &*self.connections {
            return (!tried.contains(&only.id) && only.reserve()).then(|| Arc::clone(only));
        }
        let mut candidates: Vec<_> = self
            .connections
            .iter()
            .filter(|c| !tried.contains(&c.id))
            .collect();
        candidates.sort_by_key(|connection| connection.streams());
        candidates
            .into_iter()
            .find(|connection| connection.reserve())
            .cloned()
    }
}

/// How calls of one service choose, with what that has to remember.
#[derive(Debug)]
pub(super) struct Chooser {
    policy: Policy,
    next: AtomicUsize,
}

impl Chooser {
    /// Starts at random, so that many clients that start together do not all begin with the same node.
    pub(super) fn new(policy: Policy) -> Self {
        Self {
            policy,
            next: AtomicUsize::new(fastrand::usize(..)),
        }
    }

    /// Chooses an endpoint and takes a place on one of its connections; `None` when all are full or tried.
    pub(super) fn choose(
        &self,
        ready: &[Arc<Ready>],
        tried: &[u64],
        now: Instant,
    ) -> Option<(Arc<Ready>, Arc<Connection>)> {
        if ready.is_empty() {
            return None;
        }
        let (first, second) = match self.policy {
            Policy::LeastLoaded => less_loaded(ready, now),
            Policy::RoundRobin => {
                let at = self.next.fetch_add(1, Ordering::Relaxed) % ready.len();
                (at, at)
            }
            Policy::Random => {
                let at = fastrand::usize(..ready.len());
                (at, at)
            }
        };
        let take = |at: usize| {
            ready[at]
                .reserve(tried)
                .map(|connection| (Arc::clone(&ready[at]), connection))
        };
        // Who comes after a full or tried one in the circle would get its load too, so go on from a place at random.
        take(first).or_else(|| take(second)).or_else(|| {
            let offset = fastrand::usize(..ready.len());
            (0..ready.len()).find_map(|step| take((offset + step) % ready.len()))
        })
    }
}

/// Two at random, the less loaded one first.
fn less_loaded(ready: &[Arc<Ready>], now: Instant) -> (usize, usize) {
    if ready.len() == 1 {
        return (0, 0);
    }
    let first = fastrand::usize(..ready.len());
    let second = (first + 1 + fastrand::usize(..ready.len() - 1)) % ready.len();
    // The order is random already, so equal loads need no further choice.
    if ready[first].load.cost(now) > EQUAL_WITHIN * ready[second].load.cost(now) {
        (second, first)
    } else {
        (first, second)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use micro_registry::Node;

    use super::{super::connection::tests::connection, *};

    /// A ready endpoint whose connections, numbered from `first`, take two streams each.
    async fn ready(id: &str, first: u64, connections: u64) -> Arc<Ready> {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), id, address);
        let mut open = Vec::new();
        for number in first..first + connections {
            let (connection, driver) = connection(number, 2).await;
            // Lives as long as the test: without it the connection is closed.
            tokio::spawn(driver);
            open.push(Arc::new(connection));
        }
        Arc::new(Ready {
            peer: Peer::new(Arc::new(node.build().unwrap())),
            authority: Authority::from_static("127.0.0.1:9090"),
            load: Arc::new(Load::new()),
            flags: Arc::default(),
            connections: open.into(),
        })
    }

    async fn three() -> [Arc<Ready>; 3] {
        [
            ready("a", 1, 1).await,
            ready("b", 2, 1).await,
            ready("c", 3, 1).await,
        ]
    }

    /// Who is chosen how often, when each call ends before the next one begins.
    fn chosen(policy: Policy, ready: &[Arc<Ready>], tried: &[u64], calls: usize) -> BTreeMap<String, usize> {
        let (chooser, mut counts) = (Chooser::new(policy), BTreeMap::new());
        for _ in 0..calls {
            let (endpoint, connection) = chooser.choose(ready, tried, Instant::now()).unwrap();
            connection.release();
            *counts.entry(endpoint.peer.node_id().to_owned()).or_default() += 1;
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn round_robin_is_even_to_the_call() {
        let counts = chosen(Policy::RoundRobin, &three().await, &[], 300);
        assert!(counts.values().eq(&[100, 100, 100]), "{counts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_less_loaded_of_two_is_chosen_and_equals_share() {
        let ready = three().await;
        let counts = chosen(Policy::LeastLoaded, &ready, &[], 3000);
        assert!(
            counts.values().all(|count| (700..1300).contains(count)),
            "{counts:?}"
        );
        ready[0].load.started();
        let counts = chosen(Policy::LeastLoaded, &ready, &[], 3000);
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tried_and_the_full_are_skipped_by_every_policy() {
        for policy in [Policy::LeastLoaded, Policy::RoundRobin, Policy::Random] {
            let ready = three().await;
            assert!(ready[1].connections[0].reserve() && ready[1].connections[0].reserve());
            let counts = chosen(policy, &ready, &[1], 100);
            assert_eq!(counts.keys().collect::<Vec<_>>(), ["c"], "{policy:?}");
            let chooser = Chooser::new(policy);
            assert!(chooser.choose(&ready, &[1, 3], Instant::now()).is_none());
            assert!(chooser.choose(&[], &[], Instant::now()).is_none());
            assert_eq!(
                ready[1].connections[0].streams(),
                2,
                "a refused place is given back"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_with_the_fewest_streams_is_taken_until_all_are_full() {
        let ready = ready("a", 1, 2).await;
        assert!(ready.connections[0].reserve());
        assert_eq!(ready.reserve(&[]).unwrap().id, 2);
        assert!(ready.reserve(&[]).is_some() && ready.reserve(&[]).is_some());
        assert!(ready.reserve(&[]).is_none());
        ready.connections[0].release();
        assert!(ready.reserve(&[1]).is_none());
        assert_eq!(ready.reserve(&[]).unwrap().id, 1);
    }
}
