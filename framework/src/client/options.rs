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

    /// These options, with what they leave open taken from `defaults`.
    pub(super) fn or(self, defaults: &Self) -> Self {
        Self {
            timeout: self.timeout.or(defaults.timeout),
            node: self.node.or_else(|| defaults.node.clone()),
        }
    }
}
