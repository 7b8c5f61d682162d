//! The files of a new service: those of `templates/service`, with the names filled in.
//!
//! `cargo generate` reads the same files. What its engine and ours have in common is what they may use: variables,
//! `if`, and the ending `.liquid`, which hides a `Cargo.toml` from cargo until it is a real one.

use std::path::PathBuf;

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, context, syntax::SyntaxConfig};

use super::{checkout::Checkout, name::Name};
use crate::failure::{Failure, Result};

const FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../templates/service");
/// What only `cargo generate` reads.
const NOT_OURS: [&str; 2] = ["cargo-generate.toml", "names.rhai"];
const HIDING: &str = ".liquid";

/// A file of the new service.
#[derive(Debug)]
pub(super) struct File {
    /// Where it belongs, from the service's folder.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// All files of the service `name`; within a workspace that does not know it, it is made a workspace of its own.
pub(super) fn render(name: &Name, checkout: &Checkout, is_within_workspace: bool) -> Result<Vec<File>> {
    let engine = engine();
    let values = context! {
        service_name => name.to_string(),
        crate_name => name.crate_name(),
        micro_checkout => checkout.to_string(),
        within_cargo_project => is_within_workspace,
    };
    let fill = |text: &str| {
        engine
            .render_str(text, &values)
            .map_err(|error| Failure::because("fill in the template of a service", &error))
    };
    let mut files = Vec::new();
    for (path, text) in sources(&FILES)? {
        if NOT_OURS.contains(&path) {
            continue;
        }
        let path = fill(path)?;
        files.push(File {
            path: path.strip_suffix(HIDING).unwrap_or(&path).into(),
            text: fill(text)?,
        });
    }
    Ok(files)
}

/// Nothing but variables and `if`; nothing is escaped, as these files are no HTML.
fn engine() -> Environment<'static> {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    let mut engine = Environment::empty();
    engine.set_syntax(syntax.expect("the usual delimiters are valid"));
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine
}

/// The paths and texts of a folder and those within it.
fn sources<'a>(folder: &'a Dir<'a>) -> Result<Vec<(&'a str, &'a str)>> {
    let mut found = Vec::new();
    for file in folder.files() {
        let source = file.path().to_str().zip(file.contents_utf8());
        found.push(
            source.ok_or_else(|| {
                Failure::new(format!("the template `{}` is no text", file.path().display()))
            })?,
        );
    }
    for inner in folder.dirs() {
        found.extend(sources(inner)?);
    }
    Ok(found)
}
