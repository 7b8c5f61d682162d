//! What one call may say for itself, under any generated stub.

use std::{sync::Arc, time::Duration};

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
        Self {
            timeout: self.timeout.or(defaults.timeout),
            node: self.node.or_else(|| defaults.node.clone()),
            idempotent: self.idempotent.or(defaults.idempotent),
            retries: self.retries.or(defaults.retries),
            hedge_delay: self.hedge_delay.or(defaults.hedge_delay),
        }
    }
}
