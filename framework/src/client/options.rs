//! What one call may say for itself, under any generated stub.

use std::{sync::Arc, time::Duration};

use super::{policy::Policy, selection::Selection};

/// What one call says for itself: put it into the extensions of a [`tonic::Request`].
///
/// ```
/// use std::time::Duration;
/// use micro::CallOptions;
///
/// let mut request = tonic::Request::new(());
/// request.extensions_mut().insert(CallOptions::new().timeout(Duration::from_secs(1)).node("greeter-1"));
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct CallOptions {
    pub(super) timeout: Option<Duration>,
    pub(super) node: Option<Arc<str>>,
    pub(super) hash_key: Option<Arc<str>>,
    /// What else it asks of its node. Behind an `Arc`, as every call clones its options.
    pub(super) selection: Option<Arc<Selection>>,
    pub(super) idempotent: Option<bool>,
    pub(super) retries: Option<u32>,
    pub(super) hedge_delay: Option<Duration>,
}

impl CallOptions {
    /// Options that change nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long the call may take, and tells the server so. Default: the client's `request_timeout`, 5 s, for a
    /// unary method. What is left of the call being handled is never exceeded.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the call to the node with this id and to no other. Default: any node.
    pub fn node(mut self, id: impl Into<Arc<str>>) -> Self {
        self.node = Some(id.into());
        self
    }

    /// Sends the call to nodes of this version only. Default: any version.
    pub fn version(mut self, version: impl Into<Arc<str>>) -> Self {
        self.selection_mut().version = Some(version.into());
        self
    }

    /// Sends the call only to nodes whose metadata has this value under this key. Default: any node.
    pub fn node_metadata(mut self, key: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        let (key, value) = (key.into(), value.into());
        let metadata = &mut self.selection_mut().metadata;
        metadata.retain(|(known, _)| *known != key);
        metadata.push((key, value));
        self
    }

    /// Sets how the node of the call is chosen. Default: the client's [`policy`](crate::ClientBuilder::policy).
    ///
    /// Keep a policy of your own and give each call a clone of it: what it remembers goes with it.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.selection_mut().policy = Some(policy);
        self
    }

    /// Sets the zone whose nodes come first for the call; an empty name for none. Default: the client's
    /// [`zone`](crate::ClientBuilder::zone).
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.selection_mut().zone = Some(zone.into());
        self
    }

    /// Sets what the call has in common with others that go to the same node, under [`Policy::ConsistentHash`].
    /// Default: the metadata of the request that the policy names.
    pub fn hash_key(mut self, key: impl Into<Arc<str>>) -> Self {
        self.hash_key = Some(key.into());
        self
    }

    fn selection_mut(&mut self) -> &mut Selection {
        Arc::make_mut(self.selection.get_or_insert_default())
    }

    /// Says whether executing the call twice is as good as once, so that it may be sent again although it perhaps ran.
    /// Default: what the channel's descriptors say of the method, else what all of the nodes say; else it is not.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sets how often the call may be sent again that perhaps ran and failed with `UNAVAILABLE`, if it is idempotent.
    /// Default: the client's [`retries`](crate::ClientBuilder::retries), 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    /// Sets after which time without an answer an idempotent unary call is sent to a second node; the first answer wins.
    /// Default: the client's [`hedge_delay`](crate::ClientBuilder::hedge_delay), never.
    pub fn hedge_delay(mut self, delay: Duration) -> Self {
        self.hedge_delay = Some(delay);
        self
    }

    /// These options, with what they leave open taken from `defaults`.
    pub(super) fn or(self, defaults: &Self) -> Self {
        let selection = match (self.selection, &defaults.selection) {
            (Some(own), Some(defaults)) => Some(Arc::new(own.or(defaults))),
            (own, defaults) => own.or_else(|| defaults.clone()),
        };
        Self {
            selection,
            hash_key: self.hash_key.or_else(|| defaults.hash_key.clone()),
            timeout: self.timeout.or(defaults.timeout),
            node: self.node.or_else(|| defaults.node.clone()),
            idempotent: self.idempotent.or(defaults.idempotent),
            retries: self.retries.or(defaults.retries),
            hedge_delay: self.hedge_delay.or(defaults.hedge_delay),
        }
    }
}
