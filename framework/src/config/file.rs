//! Reads the file: finds it, parses it, and tells errors by file and key.

use std::{fs, io, path::PathBuf};

use ::config::{Config, ConfigError, FileFormat};

use super::{env, env::Environment, typed::Typed};
use crate::{Error, Result};

/// What is read when `MICRO_CONFIG` names no other file.
const DEFAULT: &str = "micro.toml";

/// The file, read but not yet understood.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    text: String,
}

impl File {
    /// The file that the environment names, or the default one where it exists.
    pub(super) fn find(environment: &Environment) -> Result<Option<Self>> {
        let named = environment.variable(env::FILE)?;
        let path = match (&named, environment) {
            (Some(named), _) => PathBuf::from(named),
            (None, Environment::Process) => PathBuf::from(DEFAULT),
            (None, Environment::Given(_)) => return Ok(None),
        };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(Self { path, text })),
            Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                let by = if named.is_some() {
                    ", which MICRO_CONFIG names"
                } else {
                    ""
                };
                Err(Error::config(format!("read {}{by}", path.display())).with_source(error))
            }
        }
    }

    pub(super) fn source(&self) -> ::config::File<::config::FileSourceString, FileFormat> {
        ::config::File::from_str(&self.text, FileFormat::Toml)
    }

    /// Checks the file by itself, so that a variable hides no mistake in it.
    pub(super) fn check(&self) -> Result<()> {
        let parsed = Config::builder()
            .add_source(self.source())
            .build()
            .map_err(|error| {
                Error::config(format!("parse {}", self.path.display())).with_source(error.to_string())
            })?;
        parsed.try_deserialize::<Typed>().map(drop).map_err(|error| {
            explain(&error, |key| match key {
                "" => self.path.display().to_string(),
                key => format!("{}: {key}", self.path.display()),
            })
        })
    }
}

/// One line for what is wrong; `place` names the file or the variable that holds a key; an empty one is the root.
pub(super) fn explain(error: &ConfigError, place: impl FnOnce(&str) -> String) -> Error {
    let (key, reason) = match error {
        ConfigError::At { error, key, .. } => (key.as_deref(), error.to_string()),
        ConfigError::Type {
            unexpected,
            expected,
            key,
            ..
        } => (key.as_deref(), format!("{unexpected}, expected {expected}")),
        other => (None, other.to_string()),
    };
    // What serde calls a field is a key here.
    let reason = reason.replacen("unknown field", "unknown key", 1);
    Error::config(format!("{}: {reason}", place(key.unwrap_or_default())))
}
