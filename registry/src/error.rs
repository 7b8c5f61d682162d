//! The error of a registry: a kind for deciding, a cause for reading.

use std::fmt;

/// A result whose error is a registry's.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong in a registry, and why.
///
/// `Display` says what was being done; the cause is in [`source`](std::error::Error::source).
///
/// ```
/// use micro_registry::{Address, ErrorKind};
///
/// let error = "10.0.0.1:0".parse::<Address>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidArgument);
/// ```
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What an [`Error`] means for whoever has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was given is outside what this registry can hold. Trying again is useless.
    InvalidArgument,
    /// The credentials are missing or refused.
    Unauthenticated,
    /// The credentials are good and the right is missing.
    PermissionDenied,
    /// The node's id is held by another boot.
    Conflict,
    /// The registry cannot be reached or does not answer in time.
    Unavailable,
    /// The registry answered what its protocol does not allow.
    Protocol,
}

impl Error {
    /// An error of `kind`; `message` says what was being done, lower case, no full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What this means for whoever has to decide.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.kind).field("message", &self.message);
        if let Some(source) = &self.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InvalidArgument => "invalid argument",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission denied",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Protocol => "protocol error",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_error_shows_its_own_level_and_keeps_the_cause() {
        let error = Error::new(ErrorKind::Unavailable, "list the nodes of `greeter`").with_source("refused");
        assert_eq!(error.to_string(), "list the nodes of `greeter`");
        assert_eq!(error.source().unwrap().to_string(), "refused");
        assert!(format!("{error:?}").contains("refused"), "{error:?}");
    }
}
