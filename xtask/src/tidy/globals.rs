//! Nothing is global in a library.

use super::source::Source;
use crate::finding::Finding;

const GLOBALS: [&str; 7] = [
    "static",
    "OnceLock",
    "LazyLock",
    "lazy_static",
    "once_cell",
    "thread_local",
    "task_local",
];

/// Where a global word may stand, and why.
const EXCEPTIONS: [(&str, &str); 3] = [
    (
        "framework/src/client/target.rs",
        "a field of one client, set by its first call, and gone with it",
    ),
    (
        "framework/src/context.rs",
        "a task-local is the one way from the server to the calls that a handler makes under a generated stub",
    ),
    (
        "framework/src/server/sending.rs",
        "a task-local is the one way from the body of an answer to the task that sends it, which is hyper's",
    ),
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.library || EXCEPTIONS.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let words = source.tokens.iter().filter(|token| !token.around.test);
    words
        .filter(|token| GLOBALS.contains(&token.text.as_str()))
        .map(|token| {
            let message = format!("`{}`: nothing is global, hand it to the constructor", token.text);
            Finding::at(&source.path, token.line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_program},
        *,
    };

    #[test]
    fn a_global_in_a_library_is_found() {
        for text in [
            "static A: AtomicUsize = AtomicUsize::new(0);",
            "fn a() { static mut B: u8 = 0; }",
            "struct A { b: OnceLock<u8> }",
            "lazy_static! { }",
            "thread_local! { }",
        ] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 1, "{text}");
            assert_eq!(in_program(check, "a/src/b.rs", text).len(), 0, "{text}");
        }
        assert_eq!(
            in_library(check, "a/src/b.rs", "task_local! { static A: u8; }").len(),
            2
        );
        assert_eq!(
            in_library(check, "framework/src/context.rs", "task_local! { static A: u8; }").len(),
            0
        );
    }

    #[test]
    fn a_lifetime_and_a_test_are_not_global() {
        for text in [
            "const A: &'static str = \"\";",
            "#[cfg(test)] mod tests { static A: u8 = 0; }",
        ] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 0, "{text}");
        }
    }
}
