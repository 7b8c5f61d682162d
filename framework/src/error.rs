//! The error of the framework: a kind for deciding, a cause for reading.

use std::{error::Error as StdError, fmt};

/// A result whose error is the framework's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a service could not be built, started or stopped, or a client not be made.
///
/// `Display` says what was being done; the cause is in [`source`](StdError::source), and `{:#}` shows the whole chain.
/// `Debug` shows the chain too, so that `main() -> micro::Result<()>` prints one readable message.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Something in code, file or environment is wrong; the message lists what is allowed.
    Config,
    /// The registry refused the node or its credentials.
    Registry,
    /// The server could not listen, or stopped listening.
    Server,
    /// A hook or a task of the user's failed; its error is the source.
    Hook,
    /// A hook, or all of the way down, took longer than it may.
    Timeout,
    /// A second signal cut the way down short.
    Interrupted,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    #[must_use]
    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What this error is about.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    fn chain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            self.chain(f)
        } else {
            f.write_str(&self.message)
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.chain(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
