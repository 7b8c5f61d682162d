//! Counts which lists of methods the nodes of a service have, so that what all agree upon need not be asked of each.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use micro_registry::Node;

use super::methods::Methods;

/// The lists of methods that the nodes of a snapshot have.
///
/// Nodes of one version share a list, so there are few lists however many nodes there are.
#[derive(Debug, Default)]
pub(super) struct Census {
    lists: HashMap<Listing, usize>,
    agreed: Arc<Methods>,
    /// Whether a list has come or gone since they were last compared.
    stale: bool,
}

/// A node that stands for its list of methods.
#[derive(Debug)]
struct Listing(Arc<Node>);

impl Census {
    /// Counts a node that is listed from now on.
    pub(super) fn enter(&mut self, node: &Arc<Node>) {
        let count = self.lists.entry(Listing(Arc::clone(node))).or_default();
        *count += 1;
        self.stale |= *count == 1;
    }

    /// Forgets a node that was counted.
    pub(super) fn leave(&mut self, node: &Arc<Node>) {
        let listing = Listing(Arc::clone(node));
        let Some(count) = self.lists.get_mut(&listing) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.lists.remove(&listing);
            self.stale = true;
        }
    }

    /// What all nodes agree upon.
    pub(super) fn agreed(&mut self) -> Arc<Methods> {
        if self.stale {
            self.stale = false;
            let agreed = Methods::agreed(self.lists.keys().map(|listing| listing.0.methods()));
            if agreed != *self.agreed {
                self.agreed = Arc::new(agreed);
            }
        }
        Arc::clone(&self.agreed)
    }
}

impl PartialEq for Listing {
    fn eq(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.0.methods(), other.0.methods());
        std::ptr::eq(ours, theirs) || ours == theirs
    }
}

impl Eq for Listing {}

impl Hash for Listing {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.methods().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use micro_registry::Method;

    use super::*;

    fn node(id: &str, methods: &[&str]) -> Arc<Node> {
        let address = "127.0.0.1:9090".parse().unwrap();
        let methods = methods.iter().map(|name| Method::new("greeter.Say", *name));
        let node = Node::builder("greeter".parse().unwrap(), id, address);
        Arc::new(node.methods(methods.collect::<Vec<_>>()).build().unwrap())
    }

    #[test]
    fn what_is_agreed_upon_follows_the_nodes_that_come_and_go() {
        let (a, b, old) = (
            node("a", &["Hello", "Bye"]),
            node("b", &["Hello", "Bye"]),
            node("c", &["Hello"]),
        );
        let mut census = Census::default();
        assert!(
            census.agreed().get("/greeter.Say/Hello").is_none(),
            "nobody has said anything"
        );
        census.enter(&a);
        census.enter(&b);
        let two = census.agreed();
        assert!(two.get("/greeter.Say/Bye").is_some());
        census.enter(&old);
        assert!(census.agreed().get("/greeter.Say/Bye").is_none());
        assert!(census.agreed().get("/greeter.Say/Hello").is_some());
        census.leave(&old);
        assert!(census.agreed().get("/greeter.Say/Bye").is_some());
        census.leave(&a);
        assert!(
            census.agreed().get("/greeter.Say/Bye").is_some(),
            "`b` says so, too"
        );
        census.leave(&b);
        assert!(census.agreed().get("/greeter.Say/Hello").is_none());
    }

    #[test]
    fn nodes_of_one_list_change_nothing() {
        let mut census = Census::default();
        census.enter(&node("a", &["Hello"]));
        let agreed = census.agreed();
        census.enter(&node("b", &["Hello"]));
        assert!(Arc::ptr_eq(&agreed, &census.agreed()));
    }
}
