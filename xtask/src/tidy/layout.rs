//! A file opens with one sentence on what it is for, and is not longer than a reader can hold.

use super::source::Source;
use crate::finding::Finding;

/// The longest a file may be, its tests included.
const LINES_MAX: usize = 400;

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !opens_with_a_sentence(&source.text) {
        findings.push(Finding::at(
            &source.path,
            1,
            "must open with a `//!` sentence on what the file is for",
        ));
    }
    let lines = source.text.lines().count();
    if lines > LINES_MAX {
        findings.push(Finding::new(
            &source.path,
            format!("has {lines} lines; {LINES_MAX} is the most"),
        ));
    }
    findings
}

/// Whether the first paragraph is an inner doc comment that begins with the first line and ends in a full stop.
fn opens_with_a_sentence(text: &str) -> bool {
    let paragraph: Vec<_> = text
        .lines()
        .map_while(|line| line.strip_prefix("//! "))
        .map(str::trim)
        .collect();
    // `mDNS` begins a sentence as it is.
    let begins = paragraph
        .first()
        .and_then(|line| line.split_whitespace().next())
        .is_some_and(|word| !word.chars().all(char::is_lowercase));
    begins && paragraph.last().is_some_and(|line| line.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::in_program, *};

    fn findings(text: &str) -> usize {
        in_program(check, "a/src/lib.rs", text).len()
    }

    #[test]
    fn a_file_opens_with_a_sentence() {
        for text in [
            "//! Gives names to things.\n\nfn a() {}",
            "//! mDNS on the loopback interface.",
            "//! `Names`, and what they are\n//! for.\n//!\n//! More of it:",
        ] {
            assert_eq!(findings(text), 0, "{text}");
        }
        for text in [
            "fn a() {}",
            "\n//! Gives names to things.",
            "//! Names",
            "//! gives names to things.",
            "// Gives names to things.",
            "//!\n//! Gives names to things.",
        ] {
            assert_eq!(findings(text), 1, "{text}");
        }
    }

    #[test]
    fn a_file_has_400_lines_at_most() {
        let text = |lines: usize| format!("//! Names.\n{}", "// And so on.\n".repeat(lines - 1));
        assert_eq!(findings(&text(400)), 0);
        assert_eq!(findings(&text(401)), 1);
    }
}
