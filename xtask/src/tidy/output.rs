//! A library neither ends the process nor writes to its terminal.

use super::source::Source;
use crate::finding::Finding;

const FORBIDDEN: [&str; 6] = [
    "process::exit",
    "process::abort",
    "println!",
    "print!",
    "eprintln!",
    "eprint!",
];

/// Where a library may, and why; a folder stands for all its files.
const EXCEPTIONS: [(&str, &str); 1] = [(
    "codegen/src/",
    "a build script speaks to cargo on standard output",
)];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.library || EXCEPTIONS.iter().any(|(place, _)| source.path.starts_with(place)) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for pattern in FORBIDDEN {
        let outside = source.find(pattern).filter(|(_, token)| !token.around.test);
        findings.extend(outside.map(|(_, token)| {
            let message = format!("`{pattern}` in a library: return it, or log it");
            Finding::at(&source.path, token.line, message)
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_program},
        *,
    };

    #[test]
    fn a_library_that_exits_or_prints_is_found() {
        for text in [
            "fn a() { std::process::exit(1) }",
            "fn a() { println!(\"b\") }",
            "fn a() { eprint!(\"b\") }",
        ] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 1, "{text}");
            assert_eq!(in_program(check, "a/src/b.rs", text).len(), 0, "{text}");
            assert_eq!(in_library(check, "codegen/src/lib.rs", text).len(), 0, "{text}");
        }
    }

    #[test]
    fn its_tests_and_its_examples_may_print() {
        for text in [
            "#[test] fn a() { println!(\"b\") }",
            "/// println!(\"b\")\nfn a() {}",
        ] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 0, "{text}");
        }
    }
}
