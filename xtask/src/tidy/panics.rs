//! No `unwrap` outside tests, and nothing left unfinished anywhere.

use super::source::Source;
use crate::finding::Finding;

const UNWRAPS: [&str; 2] = [".unwrap()", ".unwrap_err()"];
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for pattern in UNWRAPS {
        let outside = source.find(pattern).filter(|(_, token)| !token.around.test);
        findings.extend(outside.map(|(_, token)| {
            let message =
                format!("`{pattern}` outside tests: pass the error on, or `expect` why there is none");
            Finding::at(&source.path, token.line, message)
        }));
    }
    for pattern in UNFINISHED {
        findings.extend(source.find(pattern).map(|(_, token)| {
            Finding::at(
                &source.path,
                token.line,
                format!("`{pattern}` is unfinished work"),
            )
        }));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_test},
        *,
    };

    #[test]
    fn an_unwrap_outside_tests_is_found() {
        for text in [
            "fn a() { b.unwrap(); }",
            "fn a() { select! { _ = b.unwrap_err() => {} } }",
        ] {
            assert_eq!(in_library(check, "a.rs", text).len(), 1, "{text}");
            assert_eq!(in_test(check, "a.rs", text).len(), 0, "{text}");
        }
        for text in [
            "/// b.unwrap()\nfn a() {}",
            "#[test] fn a() { b.unwrap() }",
            "fn a() { b.unwrap_or(c) }",
        ] {
            assert_eq!(in_library(check, "a.rs", text).len(), 0, "{text}");
        }
    }

    #[test]
    fn unfinished_work_is_found_in_tests_too() {
        for text in [
            "fn a() { todo!() }",
            "fn a() { unimplemented!(\"b\") }",
            "fn a() { dbg!(b) }",
        ] {
            assert_eq!(in_test(check, "a.rs", text).len(), 1, "{text}");
        }
    }
}
