//! Which nodes of a large service a client keeps connections to: the first ones in an order of its own.

use std::{
    collections::BTreeSet,
    iter::{self, Peekable},
    sync::Arc,
    time::Duration,
};

use super::stable_hash::{hash, mix};

/// How long a node that a call named keeps its connection without being named again.
pub(super) const NAMED_FOR: Duration = Duration::from_secs(60);

/// An endpoint's place in this client's order; the id decides between equal ranks.
pub(super) type Ranked = (u64, Arc<str>);

/// What tells a client's order from those of others: the same for the same seed, wherever and whenever it starts.
pub(super) fn client(seed: Option<&str>) -> u64 {
    seed.map_or_else(|| fastrand::u64(..), |seed| hash(seed.as_bytes()))
}

/// Rendezvous hashing (Thaler and Ravishankar 1998): each client has its own order of the nodes, and all clients
/// together load all nodes evenly.
pub(super) fn rank(client: u64, id: &str) -> u64 {
    mix(client ^ hash(id.as_bytes()))
}

/// All nodes in the order in which this client connects to them, kept up to date node by node.
#[derive(Debug, Default)]
pub(super) struct Order {
    sound: BTreeSet<Ranked>,
    /// Those whose connects of late failed.
    failing: BTreeSet<Ranked>,
}

impl Order {
    pub(super) fn insert(&mut self, node: Ranked, failing: bool) {
        self.nodes(failing).insert(node);
    }

    pub(super) fn remove(&mut self, node: &Ranked, failing: bool) {
        self.nodes(failing).remove(node);
    }

    fn nodes(&mut self, failing: bool) -> &mut BTreeSet<Ranked> {
        if failing {
            &mut self.failing
        } else {
            &mut self.sound
        }
    }

    /// The nodes to have connections to now: one that cannot be reached is replaced by the next one.
    pub(super) fn present(&self, size: usize) -> impl Iterator<Item = &Arc<str>> {
        let nodes = self.sound.iter().chain(&self.failing);
        nodes.take(size).map(|(_, id)| id)
    }

    /// The nodes to have when all can be reached, which are tried for as long as they cannot.
    pub(super) fn preferred(&self, size: usize) -> impl Iterator<Item = &Arc<str>> {
        let (mut sound, mut failing) = (self.sound.iter().peekable(), self.failing.iter().peekable());
        iter::from_fn(move || first_of(&mut sound, &mut failing))
            .take(size)
            .map(|(_, id)| id)
    }
}

/// The lesser of what two sorted lists go on with.
fn first_of<'a>(
    one: &mut Peekable<impl Iterator<Item = &'a Ranked>>,
    other: &mut Peekable<impl Iterator<Item = &'a Ranked>>,
) -> Option<&'a Ranked> {
    match (one.peek(), other.peek()) {
        (Some(a), Some(b)) if a > b => other.next(),
        (Some(_), _) => one.next(),
        (None, _) => other.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(sound: &[u64], failing: &[u64]) -> Order {
        let mut order = Order::default();
        for (ranks, fails) in [(sound, false), (failing, true)] {
            for rank in ranks {
                order.insert((*rank, rank.to_string().into()), fails);
            }
        }
        order
    }

    fn ranks<'a>(ids: impl Iterator<Item = &'a Arc<str>>) -> Vec<u64> {
        ids.map(|id| id.parse().unwrap()).collect()
    }

    /// The first nodes of a hundred in the order of the client with this seed.
    fn subset(seed: Option<&str>, size: usize) -> Vec<usize> {
        let client = client(seed);
        let mut nodes: Vec<usize> = (0..100).collect();
        nodes.sort_by_key(|node| rank(client, &format!("greeter-{node}")));
        nodes.truncate(size);
        nodes
    }

    #[test]
    fn all_clients_together_have_each_node_about_as_often() {
        let mut clients_of = [0; 100];
        for client in 0..500 {
            for node in subset(Some(&format!("orders-{client}")), 10) {
                clients_of[node] += 1;
            }
        }
        // 50 are the mean; were it all chance, 20 and 80 would be more than four standard deviations away.
        assert!(
            clients_of.iter().all(|clients| (20..80).contains(clients)),
            "{clients_of:?}"
        );
    }

    #[test]
    fn a_client_has_the_same_order_each_time_it_starts_and_another_one_another() {
        // What another build said: a client that is updated keeps its nodes.
        assert_eq!(subset(Some("orders-1"), 5), [99, 62, 59, 68, 97]);
        assert_ne!(subset(Some("orders-1"), 10), subset(Some("orders-2"), 10));
        assert_ne!(subset(None, 100), subset(None, 100));
    }

    #[test]
    fn who_fails_is_replaced_by_the_next_and_stays_preferred() {
        let order = order(&[1, 4, 5, 7], &[2, 3]);
        assert_eq!(ranks(order.present(3)), [1, 4, 5]);
        assert_eq!(ranks(order.preferred(3)), [1, 2, 3]);
        assert_eq!(ranks(order.present(5)), [1, 4, 5, 7, 2]);
        assert_eq!(ranks(order.preferred(9)), [1, 2, 3, 4, 5, 7]);
    }
}
