//! A link from one document of the repository to another leads somewhere.

use std::path::Path;

use super::files::TextFile;
use crate::{cargo::root, finding::Finding};

pub(super) fn check(file: &TextFile) -> Vec<Finding> {
    check_below(root(), file)
}

fn check_below(root: &Path, file: &TextFile) -> Vec<Finding> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = root
        .join(&file.path)
        .parent()
        .map(Path::to_owned)
        .unwrap_or_default();
    let lines = file.text.lines().enumerate();
    lines
        .flat_map(|(index, line)| links(line).map(move |link| (index + 1, link)))
        .filter(|(_, link)| !folder.join(link).exists())
        .map(|(line, link)| Finding::at(&file.path, line, format!("links to `{link}`, which is not there")))
        .collect()
}

/// The links of `line` that stay in the repository, without what follows a `#`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next())
        .filter(|link| !link.is_empty() && !link.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::{super::testing::shown, *};

    fn findings(text: &str) -> Vec<String> {
        let (path, text) = ("xtask/README.md".to_owned(), text.to_owned());
        shown(&check_below(root(), &TextFile { path, text }))
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(
            findings("See\n[this](src/main.rs) and [that](src/none.rs#part)."),
            ["xtask/README.md:2: links to `src/none.rs`, which is not there"]
        );
    }

    #[test]
    fn a_link_out_of_the_repository_or_within_the_page_is_left_alone() {
        assert_eq!(
            findings("[a](https://example.com/none) [b](#part) [c](../Cargo.toml)"),
            [""; 0]
        );
    }
}
