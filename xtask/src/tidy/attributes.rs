//! An attribute that silences a lint or a test says why.

use super::source::Source;
use crate::finding::Finding;

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let words = source
        .tokens
        .iter()
        .enumerate()
        .filter(|(_, token)| token.around.attribute);
    for (index, token) in words {
        let next = source.word(index + 1);
        let silent = match token.text.as_str() {
            "allow" | "expect" => {
                next == "("
                    && !source
                        .inside(index + 1)
                        .iter()
                        .any(|inside| inside.text == "reason")
            }
            "ignore" => next != "=",
            _ => false,
        };
        if silent {
            let message = format!("`{}` without a reason", token.text);
            findings.push(Finding::at(&source.path, token.line, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::{super::testing::in_test, *};

    #[test]
    fn a_silenced_lint_has_a_reason() {
        for text in [
            "#[allow(dead_code)] fn a() {}",
            "#![expect(clippy::pedantic)]",
            "#[cfg_attr(b, allow(dead_code))] fn a() {}",
        ] {
            assert_eq!(
                in_test(check, "a.rs", text),
                ["a.rs:1: `".to_owned() + name(text) + "` without a reason"]
            );
        }
        for text in [
            "#[allow(dead_code, reason = \"b\")] fn a() {}",
            "fn a() { allow(b) }",
        ] {
            assert_eq!(in_test(check, "a.rs", text).len(), 0, "{text}");
        }
    }

    fn name(text: &str) -> &str {
        if text.contains("expect") {
            "expect"
        } else {
            "allow"
        }
    }

    #[test]
    fn an_ignored_test_has_a_reason() {
        assert_eq!(
            in_test(check, "a.rs", "#[test]\n#[ignore]\nfn a() {}"),
            ["a.rs:2: `ignore` without a reason"]
        );
        assert_eq!(
            in_test(check, "a.rs", "#[test] #[ignore = \"needs etcd\"] fn a() {}").len(),
            0
        );
    }
}
