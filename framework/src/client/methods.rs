//! What is known of the methods of a service: from descriptors, or from the nodes' records.

use std::collections::BTreeMap;

use micro_registry::{Idempotency, Method};

/// What is known of each method, by the path of its requests.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Methods {
    by_path: BTreeMap<Box<str>, Kind>,
}

/// What the path of a call has to know of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) unary: bool,
    /// Whether executing it twice is as good as once.
    pub(super) idempotent: bool,
}

impl Methods {
    pub(super) fn new<'a>(methods: impl IntoIterator<Item = &'a Method>) -> Self {
        let by_path = methods.into_iter().map(|method| {
            (
                method.path().into(),
                Kind {
                    unary: method.is_unary(),
                    idempotent: method.idempotency != Idempotency::Unknown,
                },
            )
        });
        Self {
            by_path: by_path.collect(),
        }
    }

    /// What all of these lists agree upon: a method is idempotent only if each of them says so. A node without methods
    /// says nothing, so then nothing is known.
    pub(super) fn agreed<'a>(mut lists: impl Iterator<Item = &'a [Method]>) -> Self {
        let Some(first) = lists.next() else {
            return Self::default();
        };
        let mut agreed = Self::new(first);
        for list in lists {
            let other = Self::new(list);
            agreed.by_path.retain(|path, kind| {
                let Some(others) = other.by_path.get(path).filter(|other| other.unary == kind.unary) else {
                    return false;
                };
                kind.idempotent &= others.idempotent;
                true
            });
        }
        agreed
    }

    pub(super) fn get(&self, path: &str) -> Option<Kind> {
        self.by_path.get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNARY: Kind = Kind {
        unary: true,
        idempotent: false,
    };
    const STREAM: Kind = Kind {
        unary: false,
        idempotent: false,
    };

    fn agreed(lists: &[&[Method]]) -> Methods {
        Methods::agreed(lists.iter().copied())
    }

    #[test]
    fn only_what_all_nodes_say_is_known() {
        let unary = Method::new("greeter.Say", "Hello");
        let mut stream = Method::new("greeter.Say", "Greetings");
        stream.server_streaming = true;
        let mut changed = unary.clone();
        changed.client_streaming = true;

        let known = agreed(&[&[unary.clone(), stream.clone()], &[unary.clone(), stream.clone()]]);
        assert_eq!(known.get("/greeter.Say/Hello"), Some(UNARY));
        assert_eq!(known.get("/greeter.Say/Greetings"), Some(STREAM));

        let known = agreed(&[&[unary.clone(), stream.clone()], &[changed, stream]]);
        assert_eq!(known.get("/greeter.Say/Hello"), None);
        assert_eq!(known.get("/greeter.Say/Greetings"), Some(STREAM));

        assert_eq!(agreed(&[&[unary], &[]]).get("/greeter.Say/Hello"), None);
        assert_eq!(agreed(&[]).get("/greeter.Say/Hello"), None);
    }

    #[test]
    fn a_method_is_idempotent_only_if_every_node_says_so() {
        let plain = Method::new("greeter.Say", "Hello");
        let [mut idempotent, mut harmless] = [plain.clone(), plain.clone()];
        idempotent.idempotency = Idempotency::Idempotent;
        harmless.idempotency = Idempotency::NoSideEffects;
        let kind = |one: &Method, other: &Method| {
            let lists: [&[Method]; 2] = [std::slice::from_ref(one), std::slice::from_ref(other)];
            agreed(&lists).get("/greeter.Say/Hello")
        };
        let safe = Kind {
            idempotent: true,
            ..UNARY
        };
        assert_eq!(kind(&idempotent, &harmless), Some(safe));
        assert_eq!(kind(&idempotent, &plain), Some(UNARY));
    }
}
