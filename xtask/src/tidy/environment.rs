//! The environment is read in one file.

use super::source::Source;
use crate::finding::Finding;

/// Who may read it, and why; a folder stands for all its files.
const MAY_READ: [(&str, &str); 7] = [
    (
        "framework/src/config/env.rs",
        "the one place where services and clients read it",
    ),
    (
        "cli/",
        "a program: it hands its environment on to the nodes it starts",
    ),
    (
        "codegen/src/",
        "runs inside build scripts, which cargo talks to by environment",
    ),
    ("examples/", "programs, as a user writes them"),
    ("templates/", "programs, as a user is given them"),
    ("tests/", "starts programs and hands them an environment"),
    ("xtask/", "a program: cargo talks to it by environment"),
];

/// What reads or changes it. Arguments count: a library has none.
const READERS: [&str; 8] = [
    "var",
    "var_os",
    "vars",
    "vars_os",
    "set_var",
    "remove_var",
    "args",
    "args_os",
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let excused = MAY_READ.iter().any(|(place, _)| source.path.starts_with(place));
    if excused || source.path.ends_with("build.rs") {
        return Vec::new();
    }
    let reads = |index: usize| {
        let imported = source.word(index + 3) == "{";
        READERS.contains(&source.word(index + 3))
            || imported
                && source
                    .inside(index + 3)
                    .iter()
                    .any(|token| READERS.contains(&token.text.as_str()))
    };
    source
        .find("env::")
        .filter(|(index, _)| reads(*index))
        .map(|(_, token)| {
            Finding::at(
                &source.path,
                token.line,
                "reads the environment: only the configuration does",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::testing::in_library, *};

    #[test]
    fn reading_the_environment_is_found() {
        for text in [
            "fn a() { std::env::var(\"B\") }",
            "fn a() { env::vars_os() }",
            "use std::env::var;",
            "use std::env::{self, var_os};",
            "fn a() { env::args() }",
        ] {
            assert_eq!(in_library(check, "registry/src/a.rs", text).len(), 1, "{text}");
            assert_eq!(
                in_library(check, "framework/src/config/env.rs", text).len(),
                0,
                "{text}"
            );
            assert_eq!(in_library(check, "framework/build.rs", text).len(), 0, "{text}");
        }
    }

    #[test]
    fn what_is_known_when_compiling_is_no_environment() {
        for text in [
            "fn a() { env!(\"B\") }",
            "fn a() { env::consts::OS }",
            "use std::{env, fs};",
        ] {
            assert_eq!(in_library(check, "registry/src/a.rs", text).len(), 0, "{text}");
        }
    }
}
