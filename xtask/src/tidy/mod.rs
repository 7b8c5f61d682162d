//! The rules that a machine can check, over every file of the repository.

mod attributes;
mod borders;
mod clocks;
mod environment;
mod files;
mod globals;
mod layout;
mod links;
mod names;
mod output;
mod panics;
mod sleep;
mod source;
mod words;

use self::{files::TextFile, source::Source};
use crate::{Result, architecture, cargo::root, finding::Finding, workspace::Workspace};

/// The rules for Rust files.
const SOURCE_RULES: [fn(&Source) -> Vec<Finding>; 10] = [
    attributes::check,
    borders::check,
    clocks::check,
    environment::check,
    globals::check,
    layout::check,
    names::check,
    output::check,
    panics::check,
    sleep::check,
];

/// The rules for files of any kind.
const TEXT_RULES: [fn(&TextFile) -> Vec<Finding>; 3] =
    [links::check, words::path_of_a_machine, words::todo_without_link];

/// Shows what breaks a rule; fails when something does.
pub(crate) fn run() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("tidy: {count} findings").into()),
    }
}

fn findings() -> Result<Vec<Finding>> {
    let workspace = Workspace::read()?;
    let libraries: Vec<_> = workspace
        .members()
        .filter(|package| package.is_library() && package.is_published())
        .map(|package| workspace.folder(package))
        .collect();
    let files = files::read(root())?;
    let (sources, mut findings) = files::sources(&files, &libraries);
    findings.extend(architecture::check(&workspace));
    for rule in SOURCE_RULES {
        findings.extend(sources.iter().flat_map(rule));
    }
    for rule in TEXT_RULES {
        findings.extend(files.iter().flat_map(rule));
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        let findings: Vec<_> = findings().unwrap().iter().map(ToString::to_string).collect();
        assert!(findings.is_empty(), "\n{}", findings.join("\n"));
    }
}

/// What the rules' own tests share.
#[cfg(test)]
mod testing {
    use super::*;

    /// What `rule` finds in `text` as a file of a library at `path`.
    pub(super) fn in_library(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        shown(&rule(&Source::new(path, text).unwrap().in_library()))
    }

    /// What `rule` finds in `text` as a test at `path`.
    pub(super) fn in_test(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        shown(&rule(&Source::new(path, text).unwrap().all_test()))
    }

    /// What `rule` finds in `text` as a file that is neither.
    pub(super) fn in_program(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        shown(&rule(&Source::new(path, text).unwrap()))
    }

    pub(super) fn shown(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(ToString::to_string).collect()
    }
}
