//! What a call picks from: an immutable list of the endpoints that are ready, and how one is chosen.

use std::{fmt, sync::Arc};

use micro_registry::{Error, Snapshot};

use super::{
    candidate::Candidate,
    methods::Methods,
    policy::{CallInfo, Pick},
    row::Places,
    selection::Selection,
    spot::Spot,
    streams::Streams,
};

/// How many nodes a call picks by its policy, before it takes any that has room.
const PICKS_MAX: usize = 3;

/// Nodes with a connection, sorted by id.
pub(super) type Nodes = Arc<[Arc<Candidate>]>;

/// What was known when it was published: replaced as a whole, never changed.
#[derive(Debug, Default)]
pub(super) struct Picker {
    /// Endpoints with a connection, sorted by node id.
    pub(super) ready: Nodes,
    /// What calls pick from: first those that ask for nothing, then those that ask for some nodes or another policy.
    pub(super) views: Box<[Arc<View>]>,
    pub(super) methods: Arc<Methods>,
    pub(super) known: Known,
}

/// The nodes that calls of one kind may go to, and how they choose.
pub(super) struct View {
    pub(super) selection: Arc<Selection>,
    /// Those they may go to.
    pub(super) all: Nodes,
    /// Those of them to pick from while one has room.
    pub(super) usable: Nodes,
    /// What a pick looks at of each of those, so that it need not look at the node; none where there is more to look at.
    spots: Places<Spot>,
    pub(super) pick: Box<dyn Pick>,
}

/// A node that was chosen, with a place on one of its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chosen<'a> {
    pub(super) node: &'a Arc<Candidate>,
    /// Which connection of it.
    pub(super) at: usize,
    /// Where the place was taken.
    pub(super) streams: &'a Streams,
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

impl Picker {
    /// What a call with this selection picks from; `None` until the control task has made it.
    pub(super) fn view(&self, selection: Option<&Arc<Selection>>) -> Option<&View> {
        let view = match selection {
            None => self.views.first(),
            // `Arc` looks at the pointers first.
            Some(selection) => self.views.iter().find(|view| view.selection == *selection),
        };
        view.map(|view| &**view)
    }

    /// Whether nobody can tell `other` from this one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let (known, others) = (&self.known, &other.known);
        let views = self.views.iter().zip(&other.views);
        Arc::ptr_eq(&self.ready, &other.ready)
            && self.views.len() == other.views.len()
            && views.into_iter().all(|(one, other)| Arc::ptr_eq(one, other))
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

impl View {
    /// The nodes in `usable` are some of those in `all`, and what `pick` was made for.
    pub(super) fn new(selection: Arc<Selection>, all: Nodes, usable: Nodes, pick: Box<dyn Pick>) -> Self {
        let spots = usable.iter().map(|node| node.only()).collect();
        Self {
            selection,
            all,
            usable,
            spots,
            pick,
        }
    }

    /// Chooses a node and takes a place on one of its connections; `None` when all are full or tried.
    pub(super) fn choose(&self, call: CallInfo<'_>, tried: &[u64]) -> Option<Chosen<'_>> {
        let nodes = &self.usable;
        for refused in 0..PICKS_MAX.min(nodes.len()) {
            let at = self.pick.pick(nodes, &call.with_refused(refused));
            if let Some(taken) = self.take(at, tried) {
                return Some(taken);
            }
        }
        take_any(nodes, tried).or_else(|| {
            // Those left out are better than none.
            take_any(&self.all, tried)
        })
    }

    /// Takes a place on the node at this place.
    fn take(&self, at: usize, tried: &[u64]) -> Option<Chosen<'_>> {
        let node = self.usable.get(at)?;
        match self.spots.get(at) {
            // A call that has tried nothing yet, as most, knows enough.
            Some(spot) if tried.is_empty() => {
                let streams = spot.streams();
                streams.reserve().then_some(Chosen { node, at: 0, streams })
            }
            _ => take(node, tried),
        }
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("selection", &self.selection)
            .field("all", &self.all)
            .field("usable", &self.usable.len())
            .finish_non_exhaustive()
    }
}

/// Takes a place on any of these nodes that has one, from a place at random on.
pub(super) fn take_any<'a>(nodes: &'a [Arc<Candidate>], tried: &[u64]) -> Option<Chosen<'a>> {
    if nodes.is_empty() {
        return None;
    }
    let (before, after) = nodes.split_at(fastrand::usize(..nodes.len()));
    after.iter().chain(before).find_map(|node| take(node, tried))
}

fn take<'a>(node: &'a Arc<Candidate>, tried: &[u64]) -> Option<Chosen<'a>> {
    let at = node.reserve(tried)?;
    let streams = &node.connections[at].streams;
    Some(Chosen { node, at, streams })
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use micro_registry::Node;

    use super::{
        super::{candidate::tests::ready, policy::Policy, settings::Settings, views::Views},
        *,
    };

    async fn three() -> [Arc<Candidate>; 3] {
        let node = |id: &str| {
            let address = "127.0.0.1:9090".parse().unwrap();
            let node = Node::builder("greeter".parse().unwrap(), id, address);
            node.build().unwrap()
        };
        [
            ready(node("a"), 1, 1).await,
            ready(node("b"), 2, 1).await,
            ready(node("c"), 3, 1).await,
        ]
    }

    fn view(policy: Policy, nodes: &[Arc<Candidate>]) -> Arc<View> {
        let settings = Settings {
            policy,
            ..Settings::default()
        };
        let (_, views) = Views::new("greeter".parse().unwrap(), &settings).update(nodes.to_vec());
        Arc::clone(&views[0])
    }

    /// Who is chosen, when each call ends before the next one begins.
    fn chosen(view: &View, tried: &[u64], calls: usize) -> Vec<String> {
        let metadata = HeaderMap::new();
        let mut ids: Vec<_> = (0..calls)
            .map(|_| {
                let chosen = view.choose(CallInfo::new(&metadata), tried).unwrap();
                chosen.streams.release();
                chosen.node.peer.node_id().to_owned()
            })
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[tokio::test(start_paused = true)]
    async fn the_tried_and_the_full_are_skipped_by_every_policy() {
        let beyond = || Policy::custom("beyond", || Box::new(Beyond));
        let by_key = |key: &str| key.parse().unwrap();
        for policy in [
            Policy::LeastLoaded,
            Policy::RoundRobin,
            Policy::Random,
            by_key("weighted"),
            by_key("consistent_hash"),
            beyond(),
        ] {
            let (nodes, metadata) = (three().await, HeaderMap::new());
            assert!(nodes[1].connections[0].reserve() && nodes[1].connections[0].reserve());
            let view = view(policy.clone(), &nodes);
            assert_eq!(chosen(&view, &[1], 100), ["c"], "{policy}");
            assert!(view.choose(CallInfo::new(&metadata), &[1, 3]).is_none());
            assert_eq!(
                nodes[1].connections[0].streams.taken(),
                2,
                "a refused place is given back"
            );
        }
    }

    /// Always picks a node that is not there.
    #[derive(Debug)]
    struct Beyond;

    impl super::super::policy::Balancer for Beyond {
        fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
            Box::new(|nodes: &[Arc<Candidate>], _call: &CallInfo<'_>| nodes.len())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_ejected_node_is_used_when_no_other_has_room() {
        let [a, b, c] = three().await;
        let mut ejected = Candidate::detached(a.node().clone());
        ejected.connections = a.connections.clone();
        ejected.ejected = true;
        let view = view(Policy::Random, &[Arc::new(ejected), b, c]);
        assert_eq!(chosen(&view, &[], 100), ["b", "c"]);
        assert_eq!(chosen(&view, &[2, 3], 100), ["a"]);
    }

    #[test]
    fn without_nodes_nothing_is_chosen() {
        let metadata = HeaderMap::new();
        assert!(
            view(Policy::LeastLoaded, &[])
                .choose(CallInfo::new(&metadata), &[])
                .is_none()
        );
    }
}
