//! The commands that check without running anything: format, lints, documentation.

use crate::{Result, cargo::cargo, fuzz, workspace::Workspace};

/// Formats, or says what is not formatted.
pub(crate) fn fmt(check: bool) -> Result<()> {
    let arguments = if check { "fmt --all --check" } else { "fmt --all" };
    cargo(arguments).run()
}

/// Lints everything together, then every package as somebody who depends on it alone builds it, and looks at the fuzz
/// targets, which are no part of the workspace.
pub(crate) fn clippy() -> Result<()> {
    cargo("clippy --workspace --all-targets --all-features -- -D warnings")
        .with_protoc()?
        .run()?;
    // Features unify in a workspace: only alone does a package show that it forgot one of its dependencies' features,
    // or that something is unused without one of its own.
    for selection in Workspace::read()?.packages_alone() {
        cargo(&format!("clippy {selection} -- -D warnings"))
            .with_protoc()?
            .run()?;
    }
    fuzz::check()
}

/// Builds the documentation of what users see.
pub(crate) fn docs() -> Result<()> {
    // The command is called `micro` as the library is: their pages would overwrite each other.
    cargo("doc --workspace --no-deps --all-features --exclude micro-cli")
        .env("RUSTDOCFLAGS", "-D warnings")
        .with_protoc()?
        .run()
}
