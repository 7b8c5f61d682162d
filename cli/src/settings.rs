//! Tables of `micro.toml` that belong to this command; the rest of the file is for the framework to read.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

use crate::failure::{Failure, Result};

/// The file that is read when `MICRO_CONFIG` names no other.
pub(crate) const FILE: &str = "micro.toml";

/// The file that `MICRO_CONFIG` names.
pub(crate) fn named_file() -> Option<PathBuf> {
    env::var_os("MICRO_CONFIG")
        .filter(|named| !named.is_empty())
        .map(PathBuf::from)
}

/// Reads the tables that `T` has; a file that is not there says nothing, unless it was named.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path, is_named: bool) -> Result<T> {
    match fs::read_to_string(path) {
        Ok(text) => parse(&text).map_err(|reason| Failure::new(format!("`{}`: {reason}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(T::default()),
        Err(error) => Err(Failure::because(format!("read `{}`", path.display()), &error)),
    }
}

/// The tables in `text`, or the line of what is wrong and what is allowed.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let place = line.map_or(String::new(), |line| format!("line {line}: "));
        format!("{place}{}", error.message())
    })
}
