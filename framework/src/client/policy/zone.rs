//! The nodes of one's own zone first, for as long as they can carry the load.

use std::{sync::Arc, time::Duration};

use super::{Balancer, CallInfo, Candidate, Pick};

/// The metadata of a node that says its zone.
const ZONE_KEY: &str = "zone";
/// A node of one's own zone that answers within this time carries its load.
const FAST: Duration = Duration::from_millis(10);
/// One that takes longer does as well, while a node elsewhere takes more than this share of its time.
const SLOWER_BY: u32 = 2;

/// Chooses by a policy within the zone, and by the same policy elsewhere when that is slow.
#[derive(Debug)]
pub(in super::super) struct ZoneFirst {
    zone: Arc<str>,
    local: Box<dyn Balancer>,
    elsewhere: Box<dyn Balancer>,
}

impl ZoneFirst {
    /// Balances within `zone` by `local`, and beyond it by `elsewhere`.
    pub(in super::super) fn new(
        zone: Arc<str>,
        local: Box<dyn Balancer>,
        elsewhere: Box<dyn Balancer>,
    ) -> Self {
        Self {
            zone,
            local,
            elsewhere,
        }
    }

    fn is_local(&self, node: &Candidate) -> bool {
        node.node().metadata().get(ZONE_KEY).map(String::as_str) == Some(&*self.zone)
    }
}

impl Balancer for ZoneFirst {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let (local, elsewhere): (Vec<_>, Vec<_>) =
            (0..nodes.len()).partition(|at| self.is_local(&nodes[*at]));
        if local.is_empty() {
            return self.elsewhere.pick_from(nodes);
        }
        if elsewhere.is_empty() {
            return self.local.pick_from(nodes);
        }
        Box::new(Zones {
            local: Part::new(nodes, local, &mut *self.local),
            elsewhere: Part::new(nodes, elsewhere, &mut *self.elsewhere),
        })
    }
}

struct Zones {
    local: Part,
    elsewhere: Part,
}

/// Some of the nodes.
struct Part {
    nodes: Box<[Arc<Candidate>]>,
    /// Their places among all.
    places: Box<[usize]>,
    pick: Box<dyn Pick>,
}

impl Part {
    fn new(all: &[Arc<Candidate>], places: Vec<usize>, balancer: &mut dyn Balancer) -> Self {
        let nodes: Box<[_]> = places.iter().map(|at| Arc::clone(&all[*at])).collect();
        let pick = balancer.pick_from(&nodes);
        Self {
            nodes,
            places: places.into(),
            pick,
        }
    }

    /// A place among all nodes, and the node there.
    fn pick(&self, call: &CallInfo<'_>) -> (usize, Option<&Candidate>) {
        let at = self.pick.pick(&self.nodes, call);
        match self.nodes.get(at) {
            Some(node) => (self.places[at], Some(node)),
            None => (usize::MAX, None),
        }
    }
}

impl Pick for Zones {
    fn pick(&self, _nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize {
        let (local, node) = self.local.pick(call);
        // In the mean: one slow answer is no reason to leave the zone.
        let latency = node.map(|node| node.spot.load.mean_latency(call.now()));
        // A node that has no room is stood in for by one of its zone, and the next time by one from elsewhere.
        if call.refused() <= 1 && latency.is_some_and(|latency| latency <= FAST) {
            return local;
        }
        let (other, node) = self.elsewhere.pick(call);
        let others = node.map(|node| node.latency(call.now())).unwrap_or_default();
        if call.refused() > 1 || latency.is_none_or(|latency| latency > others.saturating_mul(SLOWER_BY)) {
            return other;
        }
        local
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use tokio::time::Instant;

    use super::{
        super::{Policy, tests::nodes_with},
        *,
    };

    fn pick_in(zone: &str, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let balancer = || Policy::LeastLoaded.balancer();
        ZoneFirst::new(zone.into(), balancer(), balancer()).pick_from(nodes)
    }

    fn shares(pick: &dyn Pick, nodes: &[Arc<Candidate>]) -> Vec<usize> {
        let (metadata, mut counts) = (HeaderMap::new(), vec![0; nodes.len()]);
        for _ in 0..1000 {
            counts[pick.pick(nodes, &CallInfo::new(&metadata))] += 1;
        }
        counts
    }

    fn takes(node: &Candidate, latency: Duration) {
        node.spot.load.started(Instant::now());
        node.spot.load.answered(latency, Instant::now());
        node.spot.load.ended();
    }

    #[tokio::test(start_paused = true)]
    async fn calls_stay_in_the_zone_while_it_is_as_fast_as_elsewhere() {
        let nodes = nodes_with(ZONE_KEY, &["a", "b", "a", "c"]);
        let pick = pick_in("a", &nodes);
        let counts = shares(&*pick, &nodes);
        assert_eq!(counts[0] + counts[2], 1000, "{counts:?}");
        nodes
            .iter()
            .for_each(|node| takes(node, Duration::from_millis(100)));
        let counts = shares(&*pick, &nodes);
        assert_eq!(
            counts[0] + counts[2],
            1000,
            "a slow service is slow everywhere: {counts:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn calls_leave_a_zone_that_is_slow() {
        let nodes = nodes_with(ZONE_KEY, &["a", "b"]);
        takes(&nodes[0], Duration::from_millis(100));
        takes(&nodes[1], Duration::from_millis(20));
        assert_eq!(shares(&*pick_in("a", &nodes), &nodes), [0, 1000]);
    }

    #[test]
    fn a_zone_without_nodes_uses_all() {
        let nodes = nodes_with(ZONE_KEY, &["a", "b"]);
        assert!(
            shares(&*pick_in("nowhere", &nodes), &nodes)
                .iter()
                .all(|count| *count > 300)
        );
    }

    #[test]
    fn a_call_that_its_zone_refuses_goes_elsewhere() {
        let nodes = nodes_with(ZONE_KEY, &["a", "a", "b"]);
        let metadata = HeaderMap::new();
        let pick = pick_in("a", &nodes);
        assert!(pick.pick(&nodes, &CallInfo::new(&metadata).with_refused(1)) < 2);
        assert_eq!(pick.pick(&nodes, &CallInfo::new(&metadata).with_refused(2)), 2);
    }
}
