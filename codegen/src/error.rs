//! The error of a build: one message that says where.

use std::{error::Error as StdError, fmt, io, path::Path};

/// Why proto files could not be compiled.
///
/// `Debug` shows the same text as `Display`, followed by the causes, because that is what cargo shows of a build
/// script's `main() -> Result<(), micro_build::Error>`.
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What an [`Error`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A proto file is missing or wrong; the message names file, line and column.
    Proto,
    /// The Rust code could not be generated from correct proto files.
    Code,
    /// A file could not be written.
    Write,
    /// There is no `OUT_DIR`: the caller is no build script.
    Environment,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn write(path: &Path, source: io::Error) -> Self {
        Self::new(ErrorKind::Write, format!("write `{}`", path.display())).with_source(source)
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
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = StdError::source(self);
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
