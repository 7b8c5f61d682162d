//! Which nodes of a large service a client keeps connections to: the first ones in an order of its own.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    iter::{self, Peekable},
    sync::Arc,
    time::Duration,
};

/// How long a node that a call named keeps its connection without being named again.
pub(super) const NAMED_FOR: Duration = Duration::from_secs(60);

/// An endpoint's place in this client's order; the id decides between equal ranks.
pub(super) type Ranked = (u64, Arc<str>);

/// Rendezvous hashing (Thaler and Ravishankar 1998): each client has its own order of the nodes, and all clients
/// together load all nodes evenly.
pub(super) fn rank(client: u64, id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (client, id).hash(&mut hasher);
    hasher.finish()
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

    #[test]
    fn who_fails_is_replaced_by_the_next_and_stays_preferred() {
        let order = order(&[1, 4, 5, 7], &[2, 3]);
        assert_eq!(ranks(order.present(3)), [1, 4, 5]);
        assert_eq!(ranks(order.preferred(3)), [1, 2, 3]);
        assert_eq!(ranks(order.present(5)), [1, 4, 5, 7, 2]);
        assert_eq!(ranks(order.preferred(9)), [1, 2, 3, 4, 5, 7]);
    }
}
