//! A name says what a thing is, not that it helps.

use super::source::Source;
use crate::finding::Finding;

/// What a name may be followed by without having said anything.
const EMPTY_WORDS: [&str; 3] = ["manager", "helper", "util"];
/// The words before a name that somebody chose for a thing, rather than for a value.
const KINDS: [&str; 5] = ["struct", "enum", "trait", "type", "mod"];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let kinds = source.tokens.iter().enumerate();
    kinds
        .filter(|(_, token)| KINDS.contains(&token.text.as_str()) && !token.around.attribute)
        .filter(|(index, _)| {
            let name = source.word(index + 1).to_lowercase();
            EMPTY_WORDS
                .iter()
                .any(|word| name.trim_end_matches('s').ends_with(word))
        })
        .map(|(index, token)| {
            let message = format!("`{}` says that it helps, not what it is", source.word(index + 1));
            Finding::at(&source.path, token.line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::testing::in_library, *};

    #[test]
    fn an_empty_name_is_found() {
        for text in [
            "struct NodeManager;",
            "mod util;",
            "trait Helpers {}",
            "type StringUtils = ();",
        ] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 1, "{text}");
        }
        for text in ["struct Announcer;", "use hyper_util::rt;", "fn a() { helper() }"] {
            assert_eq!(in_library(check, "a/src/b.rs", text).len(), 0, "{text}");
        }
    }
}
