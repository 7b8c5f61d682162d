//! The less loaded of two nodes chosen at random (Mitzenmacher 2001).

use std::sync::Arc;

use super::{
    super::{row::Places, spot::Spot},
    Balancer, CallInfo, Candidate, Pick,
};

/// Loads within this factor count as equal and are chosen between at random: sooner than that they differ by chance.
const EQUAL_WITHIN: f64 = 1.5;

/// Remembers nothing: the nodes' loads say it all.
#[derive(Debug)]
pub(super) struct LeastLoaded;

impl Balancer for LeastLoaded {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        Box::new(Loads(nodes.iter().map(|node| Some(&node.spot)).collect()))
    }
}

/// Where the loads of the nodes are: to look at a node only for its load would cost more than all else in a pick.
struct Loads(Places<Spot>);

impl Pick for Loads {
    fn pick(&self, _nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize {
        let Self(spots) = self;
        if spots.len() < 2 {
            return 0;
        }
        let first = fastrand::usize(..spots.len());
        let second = (first + 1 + fastrand::usize(..spots.len() - 1)) % spots.len();
        let (Some(one), Some(other)) = (spots.get(first), spots.get(second)) else {
            return first;
        };
        let now = call.now();
        // The order is random already, so equal loads need no further choice.
        if one.load.cost(now) > EQUAL_WITHIN * other.load.cost(now) {
            second
        } else {
            first
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{self, Instant};

    use super::super::{
        Policy,
        tests::{nodes, picks},
    };

    #[tokio::test(start_paused = true)]
    async fn the_less_loaded_of_two_is_chosen_and_equals_share() {
        let nodes = nodes(3);
        let counts = picks(&Policy::LeastLoaded, &nodes, 3000);
        assert!(
            counts.iter().all(|count| (700..1300).contains(count)),
            "{counts:?}"
        );
        nodes[0].spot.load.started(Instant::now());
        assert_eq!(picks(&Policy::LeastLoaded, &nodes, 3000)[0], 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_was_paused_is_not_picked_and_comes_back() {
        let nodes = nodes(3);
        for node in &nodes {
            node.spot.load.started(Instant::now());
            node.spot.load.answered(Duration::from_millis(5), Instant::now());
            node.spot.load.ended();
        }
        let paused = Instant::now();
        nodes[0].spot.load.started(paused);
        time::advance(Duration::from_millis(50)).await;
        assert_eq!(picks(&Policy::LeastLoaded, &nodes, 3000)[0], 0);
        nodes[0].spot.load.abandoned(paused.elapsed(), Instant::now());
        assert_eq!(
            picks(&Policy::LeastLoaded, &nodes, 3000)[0],
            0,
            "it has not answered since"
        );
        time::advance(Duration::from_secs(30)).await;
        assert!(picks(&Policy::LeastLoaded, &nodes, 3000)[0] > 700);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_fails_fast_is_not_picked() {
        let nodes = nodes(3);
        nodes[0]
            .spot
            .load
            .failed(Duration::from_micros(100), Instant::now());
        assert_eq!(picks(&Policy::LeastLoaded, &nodes, 3000)[0], 0);
    }
}
