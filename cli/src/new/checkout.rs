//! The checkout of the framework that a new service depends on, for as long as the crates are not published.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Result};

/// A folder that holds the framework's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkout {
    /// Absolute, and such that a literal string of TOML can hold it.
    folder: String,
}

impl Checkout {
    /// The one that this command was built from.
    pub(super) fn of_this_command() -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = package.parent().unwrap_or(package);
        check(folder).map_err(|missing| {
            Failure::new(format!(
                "this command was built in `{}`, where {missing}: a new service depends on the sources of the \
                 framework, so build the command anew, or say where a checkout is by --checkout",
                folder.display()
            ))
        })?;
        Self::new(folder)
    }

    /// The one in `folder`.
    pub(super) fn at(folder: &Path) -> Result<Self> {
        check(folder).map_err(|missing| {
            Failure::usage(format!(
                "`{}` is no checkout of micro: {missing}",
                folder.display()
            ))
        })?;
        let folder = folder
            .canonicalize()
            .map_err(|error| Failure::because(format_args!("find `{}`", folder.display()), &error))?;
        Self::new(&folder)
    }

    fn new(folder: &Path) -> Result<Self> {
        folder
            .to_str()
            .filter(|folder| !folder.contains(|c: char| c == '\'' || c.is_control()))
            .map(|folder| Self {
                folder: folder.to_owned(),
            })
            .ok_or_else(|| {
                Failure::new(format!(
                    "the folder {folder:?} cannot be named in a Cargo.toml; move the checkout to one without quotes and \
                     unusual characters"
                ))
            })
    }
}

impl fmt::Display for Checkout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.folder)
    }
}

/// Says what is missing.
fn check(folder: &Path) -> Result<(), String> {
    let manifests = ["framework/Cargo.toml", "codegen/Cargo.toml"];
    let missing: Option<PathBuf> = manifests
        .iter()
        .map(PathBuf::from)
        .find(|manifest| !folder.join(manifest).is_file());
    missing.map_or(Ok(()), |missing| {
        Err(format!("there is no `{}`", missing.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_of_this_command_holds_the_framework() {
        let checkout = Checkout::of_this_command().unwrap();
        assert!(Path::new(&checkout.to_string()).join("framework").is_dir());
    }

    #[test]
    fn a_folder_without_the_framework_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let failure = Checkout::at(folder.path()).unwrap_err().to_string();
        assert!(
            failure.ends_with("is no checkout of micro: there is no `framework/Cargo.toml`"),
            "{failure}"
        );
    }

    #[test]
    fn a_folder_that_toml_cannot_hold_is_refused() {
        assert!(Checkout::new(Path::new("/it's/here")).is_err());
    }
}
