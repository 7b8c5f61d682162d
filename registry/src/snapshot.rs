//! All nodes of a service at one moment.

use std::{fmt, sync::Arc};

use crate::Node;

/// All nodes of a service at one moment, sorted by id; an id stands once.
///
/// Cheap to clone and to share: 10,000 nodes are normal. Equal sets compare equal.
///
/// ```
/// use std::sync::Arc;
/// use micro_registry::{Node, Snapshot};
///
/// let node = |id: &str| Node::builder("greeter".parse()?, id, "127.0.0.1:9090".parse()?).build().map(Arc::new);
/// let snapshot = Snapshot::new([node("greeter-2")?, node("greeter-1")?]);
/// assert_eq!(snapshot, Snapshot::new([node("greeter-1")?, node("greeter-2")?]));
/// assert_eq!(snapshot.nodes()[0].id(), "greeter-1");
/// assert!(snapshot.get("greeter-3").is_none());
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    nodes: Arc<[Arc<Node>]>,
}

impl Snapshot {
    /// A snapshot of `nodes` in any order. Of nodes with one id the last given stands.
    pub fn new(nodes: impl IntoIterator<Item = Arc<Node>>) -> Self {
        let mut nodes: Vec<_> = nodes.into_iter().collect();
        // As backends have them that keep them by id; of 10,000 nodes whose order is known, snapshots are cheap.
        if nodes.is_sorted_by(|a, b| a.id() < b.id()) {
            return Self { nodes: nodes.into() };
        }
        // A stable sort keeps the order given among equals, and `dedup_by` keeps the first: so reverse both.
        nodes.reverse();
        nodes.sort_by(|a, b| a.id().cmp(b.id()));
        nodes.dedup_by(|a, b| a.id() == b.id());
        Self { nodes: nodes.into() }
    }

    /// This snapshot, with each of `nodes` in place of the one that has its id, or added to the others. With each stands
    /// where that one is among [`nodes`](Self::nodes), as far as it is known; where it is not, it is looked for.
    ///
    /// Where little has changed of a large service this is less than to make a snapshot of all its nodes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use micro_registry::{Node, Snapshot};
    /// let node = |id: &str, port: u16| {
    ///     let address = format!("127.0.0.1:{port}").parse()?;
    ///     Node::builder("greeter".parse()?, id, address).build().map(Arc::new)
    /// };
    /// let before = Snapshot::new([node("a", 1)?, node("b", 1)?]);
    /// assert_eq!(before.with([(1, node("b", 2)?)]), Snapshot::new([node("a", 1)?, node("b", 2)?]));
    /// # Ok::<(), micro_registry::Error>(())
    /// ```
    #[must_use]
    pub fn with(&self, nodes: impl IntoIterator<Item = (usize, Arc<Node>)>) -> Self {
        let mut all = self.clone();
        let present = Arc::make_mut(&mut all.nodes);
        let mut added = Vec::new();
        for (at, node) in nodes {
            if let Some(known) = present.get_mut(at)
                && known.id() == node.id()
            {
                *known = node;
                continue;
            }
            match present.binary_search_by(|present| present.id().cmp(node.id())) {
                Ok(at) => present[at] = node,
                Err(_) => added.push(node),
            }
        }
        if added.is_empty() {
            return all;
        }
        Self::new(all.nodes.iter().cloned().chain(added))
    }

    /// The snapshot of a service without nodes.
    #[must_use]
    pub fn empty() -> Self {
        Self { nodes: Arc::new([]) }
    }

    /// The nodes, sorted by id.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The node with this id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Node>> {
        self.nodes
            .binary_search_by(|node| node.id().cmp(id))
            .ok()
            .map(|at| &self.nodes[at])
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.nodes
                    .iter()
                    .map(|node| format!("{} {}", node.id(), node.address())),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, port: u16) -> Arc<Node> {
        let address = crate::Address::new("127.0.0.1", port).unwrap();
        Arc::new(
            Node::builder("greeter".parse().unwrap(), id, address)
                .build()
                .unwrap(),
        )
    }

    #[test]
    fn equal_sets_compare_equal_in_any_order() {
        assert_eq!(
            Snapshot::new([node("a", 1), node("b", 2)]),
            Snapshot::new([node("b", 2), node("a", 1)])
        );
        assert_ne!(Snapshot::new([node("a", 1)]), Snapshot::new([node("a", 2)]));
    }

    #[test]
    fn what_takes_the_place_of_nodes_leaves_the_snapshot_before_as_it_is() {
        let before = Snapshot::new([node("a", 1), node("c", 2)]);
        // Right, nobody's, another's, and none.
        let after = before.with([
            (1, node("c", 3)),
            (0, node("b", 4)),
            (2, node("b", 5)),
            (0, node("c", 6)),
        ]);
        assert_eq!(after, Snapshot::new([node("a", 1), node("b", 5), node("c", 6)]));
        assert!(Arc::ptr_eq(&before.nodes()[0], &after.nodes()[0]));
        assert_eq!(before, Snapshot::new([node("a", 1), node("c", 2)]));
        assert_eq!(before.with([]), before);
    }

    #[test]
    fn an_id_stands_once_and_the_last_given_wins() {
        let snapshot = Snapshot::new([node("a", 1), node("b", 2), node("a", 3)]);
        assert_eq!(snapshot.len(), 2);
        assert_eq!(snapshot.get("a").unwrap().address().port(), 3);
        assert!(snapshot.get("c").is_none());
    }
}
