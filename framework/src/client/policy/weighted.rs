//! Any node, with a chance that its metadata says: Walker's alias method (1974), as Vose (1991) builds it.

use std::sync::Arc;

use super::{Balancer, CallInfo, Candidate, Pick};

/// The largest weight, so that no node can take all calls by mistake in its digits and no sum overflows.
const WEIGHT_MAX: f64 = 1e6;

/// Remembers nothing but where the weight stands.
#[derive(Debug)]
pub(super) struct Weighted {
    key: Arc<str>,
}

impl Weighted {
    pub(super) fn by(key: Arc<str>) -> Self {
        Self { key }
    }

    /// The weight of a node; 1 where it says none, or something that is no number from 0.
    fn weight(&self, node: &Candidate) -> f64 {
        let said = node.node().metadata().get(&*self.key);
        let weight = said.and_then(|text| text.trim().parse::<f64>().ok());
        weight
            .filter(|weight| *weight >= 0.0)
            .map_or(1.0, |weight| weight.min(WEIGHT_MAX))
    }
}

impl Balancer for Weighted {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let weights: Vec<_> = nodes.iter().map(|node| self.weight(node)).collect();
        Box::new(Aliases::new(&weights))
    }
}

/// For each node the chance that it keeps a pick that fell on it, and who gets the pick otherwise: two random numbers
/// make a pick, however many nodes there are.
#[derive(Debug)]
struct Aliases(Box<[(f64, usize)]>);

impl Aliases {
    fn new(weights: &[f64]) -> Self {
        let sum: f64 = weights.iter().sum();
        // Nodes that all want no calls share them.
        let share = |weight: &f64| {
            if sum > 0.0 {
                weight * weights.len() as f64 / sum
            } else {
                1.0
            }
        };
        let mut shares: Vec<_> = weights.iter().map(share).collect();
        let mut aliases: Box<[_]> = (0..shares.len()).map(|at| (1.0, at)).collect();
        let (mut poor, mut rich): (Vec<_>, Vec<_>) = (0..shares.len()).partition(|at| shares[*at] < 1.0);
        while let (Some(small), Some(large)) = (poor.pop(), rich.pop()) {
            aliases[small] = (shares[small], large);
            // The large one gives what the small one lacks.
            shares[large] -= 1.0 - shares[small];
            if shares[large] < 1.0 { &mut poor } else { &mut rich }.push(large);
        }
        Self(aliases)
    }
}

impl Pick for Aliases {
    fn pick(&self, _nodes: &[Arc<Candidate>], _call: &CallInfo<'_>) -> usize {
        let at = fastrand::usize(..self.0.len());
        let (keeps, alias) = self.0[at];
        if fastrand::f64() < keeps { at } else { alias }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Policy, WEIGHT_KEY,
        tests::{nodes_with, picks},
    };

    fn counts(weights: &[&str]) -> Vec<usize> {
        picks(
            &Policy::Weighted(WEIGHT_KEY.into()),
            &nodes_with(WEIGHT_KEY, weights),
            10_000,
        )
    }

    #[test]
    fn chances_are_as_the_weights() {
        let counts = counts(&["1", "2.5", "6.5", "0"]);
        for (count, expected) in counts.iter().zip([1000, 2500, 6500]) {
            assert!(count.abs_diff(expected) < 250, "{counts:?}");
        }
        assert_eq!(counts[3], 0);
    }

    #[test]
    fn a_weight_that_is_none_is_1() {
        let counts = counts(&["", "much", "-1", "NaN", " 1 "]);
        assert!(
            counts.iter().all(|count| (1750..2250).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn no_weight_is_without_end() {
        let counts = counts(&["inf", "1e6", "1e300"]);
        assert!(
            counts.iter().all(|count| (3000..3700).contains(count)),
            "{counts:?}"
        );
    }

    #[test]
    fn nodes_that_all_want_no_calls_share_them() {
        let counts = counts(&["0", "0"]);
        assert!(
            counts.iter().all(|count| (4700..5300).contains(count)),
            "{counts:?}"
        );
    }
}
