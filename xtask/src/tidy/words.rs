//! Words that no file may have: work put off without a link, and the folders of somebody's machine.

use super::files::TextFile;
use crate::finding::Finding;

/// Put together, as otherwise this file would break its own rule.
const PUT_OFF: [&str; 2] = [concat!("TO", "DO"), concat!("FIX", "ME")];
/// Where homes, checkouts and build agents lie. Put together for the same reason.
const MACHINES: [&str; 6] = [
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Us", "ers/"),
    concat!("/wo", "rk/"),
    concat!("/work", "space/"),
    concat!("/bui", "lds/"),
];

/// Work that is put off has a link to where it is written down.
pub(super) fn todo_without_link(file: &TextFile) -> Vec<Finding> {
    lines_with(file, &PUT_OFF)
        .filter(|(_, line, _)| !line.contains("https://"))
        .map(|(number, _, word)| Finding::at(&file.path, number, format!("`{word}` without a link")))
        .collect()
}

/// A path that exists on one machine only.
pub(super) fn path_of_a_machine(file: &TextFile) -> Vec<Finding> {
    lines_with(file, &MACHINES)
        .map(|(number, _, word)| {
            Finding::at(
                &file.path,
                number,
                format!("has the path of a machine, `{word}…`"),
            )
        })
        .collect()
}

/// The lines that have one of `words`, standing by itself: number, line, word.
fn lines_with<'a>(file: &'a TextFile, words: &'a [&str]) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
    let lines = file.text.lines().enumerate();
    lines.filter_map(|(index, line)| {
        let word = words.iter().find(|word| stands_in(line, word))?;
        Some((index + 1, line, *word))
    })
}

/// Whether `word` stands in `line` and is not the end of a longer one, as in a URL.
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-}$".contains(before))
    })
}

#[cfg(test)]
mod tests {
    use super::{super::testing::shown, *};

    fn file(text: &str) -> TextFile {
        TextFile {
            path: "a.md".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn work_put_off_needs_a_link() {
        for word in PUT_OFF {
            let findings = shown(&todo_without_link(&file(&format!("fine\n// {word}: later"))));
            assert_eq!(findings, [format!("a.md:2: `{word}` without a link")]);
            let linked = format!("// {word} https://example.com/issues/1: later");
            assert_eq!(todo_without_link(&file(&linked)), []);
        }
    }

    #[test]
    fn the_folder_of_a_machine_is_found() {
        for folder in MACHINES {
            assert_eq!(
                path_of_a_machine(&file(&format!("see {folder}ada/micro"))).len(),
                1,
                "{folder}"
            );
            assert_eq!(
                path_of_a_machine(&file(&format!("https://example.com{folder}ada"))),
                [],
                "{folder}"
            );
        }
    }
}
