//! The node that a key belongs to: multi-probe consistent hashing (Appleton and O'Reilly 2015).
//!
//! Each node has one point on a circle; a key has several, and belongs to the node that is closest after one of them.
//! That is as even as a hundred points for each node, and a circle of 10,000 nodes is made in a millisecond.

use std::sync::Arc;

use super::{
    super::stable_hash::{hash, mix},
    Balancer, CallInfo, Candidate, Pick,
};

/// How many points a key has: the fullest node of many gets about 1.05 times the mean.
const PROBES: u64 = 21;
/// What makes many points of one hash: the fractional part of the golden ratio, as splitmix64 has it.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Remembers nothing but where the key stands.
#[derive(Debug)]
pub(super) struct ConsistentHash {
    key: Arc<str>,
}

impl ConsistentHash {
    pub(super) fn on(key: Arc<str>) -> Self {
        Self { key }
    }
}

impl Balancer for ConsistentHash {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let point = |(at, node): (usize, &Arc<Candidate>)| (hash(node.peer.node_id().as_bytes()), at);
        let mut points: Vec<_> = nodes.iter().enumerate().map(point).collect();
        points.sort_unstable();
        let key = Arc::clone(&self.key);
        Box::new(Circle {
            key,
            points: points.into(),
        })
    }
}

/// The nodes' points, sorted.
#[derive(Debug)]
struct Circle {
    key: Arc<str>,
    points: Box<[(u64, usize)]>,
}

impl Circle {
    /// The place of the node that a hash belongs to.
    fn find(&self, hash: u64) -> usize {
        let distance = |probe: u64| {
            let from = mix(hash.wrapping_add(probe.wrapping_mul(GOLDEN)));
            let after = self.points.partition_point(|(point, _)| *point < from);
            let place = if after < self.points.len() { after } else { 0 };
            (self.points[place].0.wrapping_sub(from), place)
        };
        let (_, place) = (1..=PROBES).map(distance).min().unwrap_or_default();
        place
    }
}

impl Pick for Circle {
    fn pick(&self, nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize {
        let said = || call.metadata().get(&*self.key).map(http::HeaderValue::as_bytes);
        let Some(key) = call.hash_key().map(str::as_bytes).or_else(said) else {
            return fastrand::usize(..nodes.len());
        };
        // Who has no room is stood in for by the next one, the same for all calls of the key.
        let place = (self.find(hash(key)) + call.refused()) % self.points.len();
        self.points[place].1
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{
        super::{HASH_KEY, tests::nodes},
        *,
    };

    /// The ids of the nodes that so many keys belong to.
    fn owners(nodes: &[Arc<Candidate>], keys: usize) -> Vec<&str> {
        let pick = ConsistentHash::on(HASH_KEY.into()).pick_from(nodes);
        let metadata = HeaderMap::new();
        let owner = |key: usize| {
            let key = format!("key-{key}");
            let at = pick.pick(nodes, &CallInfo::new(&metadata).with_hash_key(Some(&key)));
            nodes[at].peer.node_id()
        };
        (0..keys).map(owner).collect()
    }

    #[test]
    fn keys_are_spread_evenly_and_stay_where_they_are() {
        let nodes = nodes(20);
        let before = owners(&nodes, 20_000);
        for node in &nodes {
            let owned = before
                .iter()
                .filter(|owner| **owner == node.peer.node_id())
                .count();
            assert!(
                (700..1300).contains(&owned),
                "{} has {owned} of 20000",
                node.peer.node_id()
            );
        }
        assert_eq!(owners(&nodes, 20_000), before, "in another process as well");
    }

    #[test]
    fn a_node_that_leaves_moves_its_own_keys_alone() {
        let all = nodes(20);
        let (before, left) = (owners(&all, 5000), all[7].peer.node_id());
        let fewer: Vec<_> = all
            .iter()
            .filter(|node| node.peer.node_id() != left)
            .cloned()
            .collect();
        for (before, after) in before.iter().zip(owners(&fewer, 5000)) {
            assert!(
                *before == after || *before == left,
                "{before} lost a key to {after}"
            );
        }
    }

    #[test]
    fn a_key_of_the_request_s_metadata_is_as_good_and_its_next_node_is_always_the_same() {
        let nodes = nodes(20);
        let pick = ConsistentHash::on("x-user".into()).pick_from(&nodes);
        let metadata = HeaderMap::from_iter([("x-user".parse().unwrap(), "ada".parse().unwrap())]);
        let none = HeaderMap::new();
        let said = CallInfo::new(&metadata);
        let first = pick.pick(&nodes, &said);
        assert_eq!(
            pick.pick(&nodes, &CallInfo::new(&none).with_hash_key(Some("ada"))),
            first
        );
        let next = pick.pick(&nodes, &said.with_refused(1));
        assert_ne!(next, first);
        assert_eq!(pick.pick(&nodes, &said.with_refused(1)), next);
    }

    #[test]
    fn calls_without_a_key_go_anywhere() {
        let nodes = nodes(3);
        let counts = super::super::tests::picks(
            &super::super::Policy::ConsistentHash(HASH_KEY.into()),
            &nodes,
            3000,
        );
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
