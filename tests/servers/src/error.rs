//! Why a server cannot be had, in words for whoever runs the tests.

use std::fmt;

/// Why a server could not be started, spoken to or waited for; its text has the server's own last words.
pub struct Error(String);

/// What may be an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// With this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// For `map_err`: what was being done when `self` happened.
    pub(crate) fn during<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Like `Display`: tests unwrap it, and a log is read line by line.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
