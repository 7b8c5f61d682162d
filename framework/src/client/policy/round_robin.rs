//! One node after the other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::{Balancer, CallInfo, Candidate, Pick};

/// Remembers whose turn it is, also when the nodes change.
#[derive(Debug)]
pub(super) struct RoundRobin {
    next: Arc<AtomicUsize>,
}

impl RoundRobin {
    /// Starts at random, so that many clients that start together do not all begin with the same node.
    pub(super) fn new() -> Self {
        let next = Arc::new(AtomicUsize::new(fastrand::usize(..)));
        Self { next }
    }
}

impl Balancer for RoundRobin {
    fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let next = Arc::clone(&self.next);
        Box::new(move |nodes: &[Arc<Candidate>], call: &CallInfo<'_>| {
            // Who comes after a full or tried one in the circle would get its load too, so go on from a place at random.
            if call.refused() > 0 {
                return fastrand::usize(..nodes.len());
            }
            next.fetch_add(1, Ordering::Relaxed) % nodes.len()
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{
        super::{
            Policy,
            tests::{nodes, picks},
        },
        *,
    };

    #[test]
    fn turns_are_even_to_the_call() {
        assert_eq!(picks(&Policy::RoundRobin, &nodes(3), 300), [100, 100, 100]);
    }

    #[test]
    fn the_circle_goes_on_when_the_nodes_are_published_anew() {
        let (mut balancer, nodes, metadata) = (RoundRobin::new(), nodes(4), HeaderMap::new());
        let mut counts = [0; 4];
        for _ in 0..100 {
            let pick = balancer.pick_from(&nodes);
            counts[pick.pick(&nodes, &CallInfo::new(&metadata))] += 1;
        }
        assert_eq!(counts, [25; 4]);
    }
}
