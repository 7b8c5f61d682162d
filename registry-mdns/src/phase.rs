//! Whether there is a daemon to ask, and if not, why.

use std::sync::Arc;

use micro_registry::Error;

use crate::daemon::Daemon;

/// Whether there is a daemon to ask.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Finding out whether multicast works.
    Connecting,
    /// There is one.
    Running(Daemon),
    /// Over; whoever still cares connects again.
    Failed(Failure),
}

/// Why it is over. Everybody who waits gets an error of their own.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<Error>);

impl Failure {
    pub(crate) fn new(error: Error) -> Self {
        Self(Arc::new(error))
    }

    /// The failure as an error of its own.
    pub(crate) fn error(&self) -> Error {
        let error = Error::new(self.0.kind(), self.0.to_string());
        match std::error::Error::source(&*self.0) {
            Some(source) => error.with_source(source.to_string()),
            None => error,
        }
    }
}
