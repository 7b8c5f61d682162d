//! Which nodes of a large service a client keeps connections to.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::endpoint::Endpoint;

/// How long a node that a call named keeps its connection without being named again.
pub(super) const NAMED_FOR: Duration = Duration::from_secs(60);

/// The nodes that this client keeps connections to.
#[derive(Debug)]
pub(super) enum Subset {
    /// Every node: there are no more than it connects to anyway.
    All,
    /// The first ones in this client's own order.
    Some {
        /// Those to have now: a node that cannot be reached is replaced by the next one.
        present: HashSet<String>,
        /// Those to have when all can be reached, which are tried for as long as they cannot.
        preferred: HashSet<String>,
    },
}

impl Subset {
    /// Chooses `size` of the endpoints.
    pub(super) fn choose(endpoints: &BTreeMap<String, Endpoint>, size: usize) -> Self {
        if endpoints.len() <= size {
            return Self::All;
        }
        let first = |key: &dyn Fn(&Endpoint) -> (bool, u64)| {
            let mut ranked: Vec<_> = endpoints.values().collect();
            ranked.select_nth_unstable_by_key(size, |endpoint| key(endpoint));
            ranked
                .into_iter()
                .take(size)
                .map(|endpoint| endpoint.node.id().to_owned())
                .collect()
        };
        Self::Some {
            present: first(&|endpoint| (endpoint.is_failing(), endpoint.rank)),
            preferred: first(&|endpoint| (false, endpoint.rank)),
        }
    }

    /// Whether to connect to this endpoint.
    pub(super) fn wants(&self, endpoint: &Endpoint, now: Instant) -> bool {
        let id = endpoint.node.id();
        match self {
            Self::All => true,
            Self::Some { present, preferred } => {
                present.contains(id) || preferred.contains(id) || endpoint.is_named(now)
            }
        }
    }

    /// Lets go of what stood in for nodes that are ready again, so that a fault does not leave a client with
    /// connections to all nodes of a large service.
    pub(super) fn trim(&self, endpoints: &mut BTreeMap<String, Endpoint>, now: Instant) {
        let Self::Some { present, .. } = self else { return };
        if !present
            .iter()
            .all(|id| endpoints.get(id).is_some_and(Endpoint::is_ready))
        {
            return;
        }
        for endpoint in endpoints.values_mut() {
            if !self.wants(endpoint, now) && endpoint.held_until.is_none() {
                endpoint.rest();
            }
        }
    }
}
