//! A policy of a user's own, as a value that can be cloned and compared, whose panics take no call with them.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::error;

use super::{Balancer, CallInfo, Candidate, LeastLoaded, Pick};

/// What [`Policy::custom`](crate::Policy::custom) makes. Clones are equal, and nothing else is.
#[derive(Clone)]
pub struct CustomPolicy {
    name: Arc<str>,
    make: Arc<dyn Fn() -> Box<dyn Balancer> + Send + Sync>,
}

impl CustomPolicy {
    pub(super) fn new(
        name: impl Into<Arc<str>>,
        make: impl Fn() -> Box<dyn Balancer> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            make: Arc::new(make),
        }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn balancer(&self) -> Box<dyn Balancer> {
        let policy = &self.name;
        let made = catch_unwind(AssertUnwindSafe(|| (self.make)())).unwrap_or_else(|_panic| {
            error!(%policy, "the policy panicked, calls go to the less loaded nodes");
            Box::new(LeastLoaded)
        });
        Box::new(Guarding {
            policy: Arc::clone(policy),
            inner: made,
        })
    }
}

impl PartialEq for CustomPolicy {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.make, &other.make)
    }
}

impl Eq for CustomPolicy {}

impl fmt::Debug for CustomPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomPolicy").field(&self.name).finish()
    }
}

/// Stands between a balancer of a user's own and the calls.
struct Guarding {
    policy: Arc<str>,
    inner: Box<dyn Balancer>,
}

impl Balancer for Guarding {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let policy = &self.policy;
        let stand_in = LeastLoaded.pick_from(nodes);
        let Ok(inner) = catch_unwind(AssertUnwindSafe(|| self.inner.pick_from(nodes))) else {
            error!(%policy, "the policy panicked, calls go to the less loaded nodes until others are ready");
            return stand_in;
        };
        Box::new(Guarded {
            policy: Arc::clone(policy),
            inner,
            stand_in,
            told: AtomicBool::new(false),
        })
    }
}

impl fmt::Debug for Guarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// Picks as the user's own does. A call for which that panics goes to the less loaded node; others go on as they are, as what
/// is wrong may be in that call.
struct Guarded {
    policy: Arc<str>,
    inner: Box<dyn Pick>,
    stand_in: Box<dyn Pick>,
    told: AtomicBool,
}

impl Pick for Guarded {
    fn pick(&self, nodes: &[Arc<Candidate>], call: &CallInfo<'_>) -> usize {
        catch_unwind(AssertUnwindSafe(|| self.inner.pick(nodes, call))).unwrap_or_else(|_panic| {
            // Once, until other nodes are ready: the panic hook tells of each.
            if !self.told.swap(true, Ordering::Relaxed) {
                let policy = &self.policy;
                error!(%policy, "the policy panicked in a pick, such calls go to the less loaded nodes");
            }
            self.stand_in.pick(nodes, call)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::{super::tests::nodes, *};
    use crate::Policy;

    #[test]
    fn a_pick_that_panics_is_stood_in_for_and_other_calls_go_where_it_says() {
        #[derive(Debug)]
        struct Picky;
        impl Balancer for Picky {
            fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
                Box::new(|_nodes: &[Arc<Candidate>], call: &CallInfo<'_>| {
                    assert!(call.hash_key().is_none(), "a bad policy, in a test");
                    1
                })
            }
        }
        let (nodes, metadata) = (nodes(3), HeaderMap::new());
        let pick = Policy::custom("picky", || Box::new(Picky))
            .balancer()
            .pick_from(&nodes);
        let call = CallInfo::new(&metadata);
        let mut stood_in = [0; 3];
        for _ in 0..300 {
            stood_in[pick.pick(&nodes, &call.with_hash_key(Some("bad")))] += 1;
            assert_eq!(pick.pick(&nodes, &call), 1);
        }
        assert!(stood_in.iter().all(|&picked| picked > 0), "{stood_in:?}");
    }

    #[test]
    fn a_policy_that_panics_before_any_pick_is_stood_in_for() {
        #[derive(Debug)]
        struct Bad;
        impl Balancer for Bad {
            fn pick_from(&mut self, _nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
                panic!("a bad policy, in a test")
            }
        }
        let (nodes, metadata) = (nodes(2), HeaderMap::new());
        let unmade = Policy::custom("unmade", || panic!("a bad policy, in a test"));
        for policy in [unmade, Policy::custom("bad", || Box::new(Bad))] {
            let pick = policy.balancer().pick_from(&nodes);
            assert!(pick.pick(&nodes, &CallInfo::new(&metadata)) < nodes.len());
        }
    }
}
