//! Any node, with equal chance.

use std::sync::Arc;

use super::{Balancer, CallInfo, Candidate, Pick};

/// Remembers nothing.
#[derive(Debug)]
pub(super) struct Random;

impl Balancer for Random {
    fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        Box::new(|nodes: &[Arc<Candidate>], _call: &CallInfo<'_>| fastrand::usize(..nodes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Policy,
        tests::{nodes, picks},
    };

    #[test]
    fn chances_are_equal() {
        let counts = picks(&Policy::Random, &nodes(3), 3000);
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
