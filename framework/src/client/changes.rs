//! The differences between two snapshots of one service.

use std::{cmp::Ordering, sync::Arc};

use micro_registry::{Node, Snapshot};

/// What has changed from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    /// Nodes that the new snapshot lacks.
    pub(super) gone: Vec<&'a Arc<Node>>,
    /// Nodes that are new or whose record has changed, with the record before.
    pub(super) listed: Vec<(Option<&'a Arc<Node>>, &'a Arc<Node>)>,
}

impl<'a> Changes<'a> {
    /// Merges the two sorted lists. Nodes that both share behind one `Arc` cost a comparison of pointers, which is what
    /// most of a large service is from one moment to the next.
    pub(super) fn between(before: &'a Snapshot, after: &'a Snapshot) -> Self {
        let mut changes = Self::default();
        let (mut olds, mut news) = (before.nodes().iter().peekable(), after.nodes().iter().peekable());
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) if Arc::ptr_eq(old, new) => Ordering::Equal,
                (Some(old), Some(new)) => old.id().cmp(new.id()),
            };
            let old = olds.next_if(|_| order.is_le());
            let new = news.next_if(|_| order.is_ge());
            match (old, new) {
                (Some(old), None) => changes.gone.push(old),
                // `Arc` looks at the pointers first.
                (old, Some(new)) if old != Some(new) => changes.listed.push((old, new)),
                _ => {}
            }
        }
    }

    /// Whether nothing has changed.
    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.listed.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Node `id` in one of its versions.
    fn node(id: u8, version: u8) -> Arc<Node> {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), format!("n{id:03}"), address);
        Arc::new(node.version(version.to_string()).build().unwrap())
    }

    fn snapshot(nodes: &BTreeMap<u8, u8>) -> Snapshot {
        Snapshot::new(nodes.iter().map(|(id, version)| node(*id, *version)))
    }

    proptest! {
        #[test]
        fn what_was_before_and_the_changes_make_what_is_now(
            before in proptest::collection::btree_map(0..40_u8, 0..3_u8, 0..40),
            after in proptest::collection::btree_map(0..40_u8, 0..3_u8, 0..40),
        ) {
            let (old, new) = (snapshot(&before), snapshot(&after));
            let changes = Changes::between(&old, &new);
            let mut known: BTreeMap<_, _> = old.nodes().iter().map(|node| (node.id(), node)).collect();
            for gone in &changes.gone {
                prop_assert_eq!(known.remove(gone.id()), Some(*gone));
            }
            for (before, after) in &changes.listed {
                prop_assert_ne!(*before, Some(*after));
                prop_assert_eq!(known.insert(after.id(), after), *before);
            }
            prop_assert_eq!(known.into_values().collect::<Vec<_>>(), new.nodes().iter().collect::<Vec<_>>());
            prop_assert_eq!(changes.is_empty(), old == new);
        }
    }
}
