//! What the tests of all policies need, and what holds for all of them.

use micro_registry::Node;

use super::*;

/// So many nodes.
pub(in super::super) fn nodes(count: usize) -> Vec<Arc<Candidate>> {
    nodes_with("at", &vec![""; count])
}

/// A node for each value of this metadata.
pub(in super::super) fn nodes_with(key: &str, values: &[&str]) -> Vec<Arc<Candidate>> {
    let node = |(at, value): (usize, &&str)| {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), format!("n{at:05}"), address);
        Arc::new(Candidate::detached(node.metadata(key, *value).build().unwrap()))
    };
    values.iter().enumerate().map(node).collect()
}

/// How often each node is picked, by calls that end at once.
pub(in super::super) fn picks(policy: &Policy, nodes: &[Arc<Candidate>], calls: usize) -> Vec<usize> {
    let (metadata, mut counts) = (HeaderMap::new(), vec![0; nodes.len()]);
    let pick = policy.balancer().pick_from(nodes);
    for _ in 0..calls {
        counts[pick.pick(nodes, &CallInfo::new(&metadata))] += 1;
    }
    counts
}

#[test]
fn every_policy_picks_the_only_node() {
    for (name, _) in Policy::NAMES {
        let policy: Policy = name.parse().unwrap();
        assert_eq!(picks(&policy, &nodes(1), 10), [10], "{policy}");
    }
}

#[test]
fn a_policy_is_read_as_it_is_written() {
    for policy in [
        "least_loaded",
        "round_robin",
        "random",
        "weighted:capacity",
        "consistent_hash:x-user",
    ] {
        assert_eq!(policy.parse::<Policy>().unwrap().to_string(), policy);
    }
    assert_eq!(
        "weighted".parse::<Policy>().unwrap().to_string(),
        "weighted:weight"
    );
}

#[test]
fn what_is_no_policy_is_told_what_is_one() {
    for text in ["fastest", "", "random:key", "weighted:", "consistent_hash:"] {
        let error = text.parse::<Policy>().unwrap_err().to_string();
        assert!(
            error.contains("weighted, weighted:KEY, consistent_hash"),
            "{error}"
        );
    }
}

#[test]
fn policies_of_a_user_s_own_are_equal_to_their_clones_alone() {
    let make = || Policy::custom("random", || Policy::Random.balancer());
    let (one, other) = (make(), make());
    assert_eq!(one, one.clone());
    assert_ne!(one, other);
    assert_eq!(picks(&one, &nodes(2), 10).iter().sum::<usize>(), 10);
}
