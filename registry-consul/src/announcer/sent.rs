//! What was sent of which node, to which agents, arrived or not.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
};

use bytes::Bytes;
use micro_registry::{Node, ServiceName};

/// In how many renewals after a registration the other agents' records of the same id are looked for.
const LOOKS_MAX: u8 = 3;

type Key = (ServiceName, String);

/// The nodes of a handle. Agents are known by their place in its list.
#[derive(Debug, Default)]
pub(super) struct Sent {
    nodes: Mutex<HashMap<Key, Registered>>,
}

/// What was sent of one node.
#[derive(Debug)]
struct Registered {
    boot: String,
    registration: Bytes,
    /// Which token it was sent with: the agent tells the catalogue of the node with that one.
    token_revision: u64,
    /// The agent that it was sent to last; a check belongs to the agent that it was registered at.
    at: usize,
    /// Agents that may hold it still.
    left: BTreeSet<usize>,
    /// In how many renewals to look yet whether another boot took the id at another agent at the same time.
    looks: u8,
}

impl Sent {
    /// Whether `registration` of `node` may be held by the agent `at`.
    pub(super) fn may_be_at(&self, node: &Node, registration: &Bytes, at: usize) -> bool {
        self.nodes().get(&key(node)).is_some_and(|sent| {
            sent.boot == node.boot()
                && sent.registration == registration
                && (sent.at == at || sent.left.contains(&at))
        })
    }

    /// The agents other than `at` that may hold `node`.
    pub(super) fn elsewhere(&self, node: &Node, at: usize) -> BTreeSet<usize> {
        let nodes = self.nodes();
        let sent = nodes.get(&key(node)).filter(|sent| sent.boot == node.boot());
        let agents = sent
            .into_iter()
            .flat_map(|sent| sent.left.iter().copied().chain([sent.at]));
        agents.filter(|agent| *agent != at).collect()
    }

    /// Whether `node` was registered with this token.
    pub(super) fn has_token(&self, node: &Node, token_revision: u64) -> bool {
        let nodes = self.nodes();
        let sent = nodes.get(&key(node));
        sent.is_some_and(|sent| sent.token_revision == token_revision)
    }

    /// Notes that `registration` is sent to the agent `at` with this token.
    pub(super) fn note(&self, node: &Node, registration: &Bytes, at: usize, token_revision: u64) {
        let mut nodes = self.nodes();
        let before = nodes.remove(&key(node)).map(|before| before.moved_to(at).left);
        let now = Registered {
            boot: node.boot().to_owned(),
            registration: registration.clone(),
            token_revision,
            at,
            left: before.unwrap_or_default(),
            looks: LOOKS_MAX,
        };
        nodes.insert(key(node), now);
    }

    /// Notes that the agent `at` holds `node`.
    pub(super) fn confirm(&self, node: &Node, at: usize) {
        let mut nodes = self.nodes();
        if let Some(before) = nodes.remove(&key(node)) {
            nodes.insert(key(node), before.moved_to(at));
        }
    }

    /// Whether to look for the id of `node` at other agents, this time.
    pub(super) fn has_to_look(&self, node: &Node) -> bool {
        self.nodes().get_mut(&key(node)).is_some_and(|sent| {
            let has_to = sent.looks > 0;
            sent.looks = sent.looks.saturating_sub(1);
            has_to
        })
    }

    /// Notes that nobody else has the id of `node`.
    pub(super) fn seen_alone(&self, node: &Node) {
        if let Some(sent) = self.nodes().get_mut(&key(node)) {
            sent.looks = 0;
        }
    }

    /// Forgets `node`, unless another boot of it was sent since.
    pub(super) fn forget(&self, node: &Node) {
        let mut nodes = self.nodes();
        if nodes.get(&key(node)).is_some_and(|sent| sent.boot == node.boot()) {
            nodes.remove(&key(node));
        }
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Key, Registered>> {
        self.nodes.lock().expect("no panic while what was sent is locked")
    }
}

impl Registered {
    /// The same at the agent `at`; the one that it was at may hold it still.
    fn moved_to(mut self, at: usize) -> Self {
        self.left.insert(self.at);
        self.left.remove(&at);
        self.at = at;
        self
    }
}

fn key(node: &Node) -> Key {
    (node.service().clone(), node.id().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(boot: &str) -> Node {
        let (service, address) = ("greeter".parse().unwrap(), "127.0.0.1:9090".parse().unwrap());
        let node = Node::builder(service, "greeter-1", address);
        node.boot(boot).build().unwrap()
    }

    #[test]
    fn a_node_that_moves_and_comes_back_is_known_where_it_may_be_held() {
        let (sent, node, registration) = (Sent::default(), node("boot-1"), Bytes::from_static(b"{}"));
        assert!(!sent.may_be_at(&node, &registration, 0));
        sent.note(&node, &registration, 0, 0);
        sent.note(&node, &registration, 1, 0);
        assert!(sent.may_be_at(&node, &registration, 0) && sent.may_be_at(&node, &registration, 1));
        assert_eq!(sent.elsewhere(&node, 1), BTreeSet::from([0]));
        sent.confirm(&node, 0);
        assert_eq!(sent.elsewhere(&node, 0), BTreeSet::from([1]));
        assert!(!sent.may_be_at(&node, &registration, 2));
        assert!(!sent.may_be_at(&node, &Bytes::from_static(b"[]"), 0));
        sent.forget(&node);
        assert!(sent.elsewhere(&node, 2).is_empty());
    }

    #[test]
    fn another_boot_is_another_node() {
        let (sent, first, second) = (Sent::default(), node("boot-1"), node("boot-2"));
        sent.note(&first, &Bytes::new(), 0, 0);
        assert!(!sent.may_be_at(&second, &Bytes::new(), 0));
        assert!(sent.elsewhere(&second, 1).is_empty());
        sent.forget(&second);
        assert!(sent.may_be_at(&first, &Bytes::new(), 0));
    }

    #[test]
    fn the_token_of_the_last_registration_counts() {
        let (sent, node) = (Sent::default(), node("boot-1"));
        sent.note(&node, &Bytes::new(), 0, 0);
        assert!(sent.has_token(&node, 0) && !sent.has_token(&node, 1));
        sent.note(&node, &Bytes::new(), 0, 1);
        assert!(sent.has_token(&node, 1));
    }

    #[test]
    fn others_are_looked_for_a_few_times_after_each_registration() {
        let (sent, node) = (Sent::default(), node("boot-1"));
        assert!(!sent.has_to_look(&node));
        for _ in 0..2 {
            sent.note(&node, &Bytes::new(), 0, 0);
            let looks = (0..10).filter(|_| sent.has_to_look(&node)).count();
            assert_eq!(looks, usize::from(LOOKS_MAX));
        }
        sent.note(&node, &Bytes::new(), 0, 0);
        sent.seen_alone(&node);
        assert!(!sent.has_to_look(&node));
    }
}
