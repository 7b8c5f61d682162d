//! The files of the repository, as the rules get them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::source::Source;
use crate::{Result, finding::Finding};

/// Folders whose contents cargo made.
const NOT_OURS: [&str; 1] = ["target"];
/// What is ours although a leading dot hides it.
const HIDDEN_AND_OURS: [&str; 4] = [".cargo", ".ci", ".github", ".gitignore"];

/// A text file: its path from the root, with `/`, and what it says.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// All text files below `root`, in the order of their paths.
pub(crate) fn read(root: &Path) -> Result<Vec<TextFile>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if !is_ours(&path) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                files.extend(text_file(root, &path)?);
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// The Rust files among `files`, those of `libraries` marked; one that the lexer refuses is a finding.
pub(crate) fn sources(files: &[TextFile], libraries: &[String]) -> (Vec<Source>, Vec<Finding>) {
    let (mut sources, mut findings) = (Vec::new(), Vec::new());
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        match Source::new(&file.path, &file.text) {
            Ok(source) => sources.push(source),
            Err(error) => findings.push(Finding::new(&file.path, format!("is not Rust: {error}"))),
        }
    }
    let test_files: BTreeSet<_> = sources
        .iter()
        .flat_map(|source| source.test_files.clone())
        .collect();
    let sources = sources.into_iter().map(|source| {
        if is_test_path(&source.path) || test_files.contains(&source.path) {
            source.all_test()
        } else if libraries
            .iter()
            .any(|folder| source.path.starts_with(&format!("{folder}/src/")))
        {
            source.in_library()
        } else {
            source
        }
    });
    (sources.collect(), findings)
}

/// Whether cargo builds what is at `path` for tests and benchmarks alone.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "benches" | "tests.rs"))
}

fn is_ours(path: &Path) -> bool {
    let name = path
        .file_name()
        .map(|name| name.to_string_lossy())
        .unwrap_or_default();
    let hidden = name.starts_with('.') && !HIDDEN_AND_OURS.contains(&&*name);
    !hidden && !NOT_OURS.contains(&&*name)
}

fn text_file(root: &Path, path: &PathBuf) -> Result<Option<TextFile>> {
    // What is not text, such as an image, has no lines to check.
    let Ok(text) = String::from_utf8(fs::read(path)?) else {
        return Ok(None);
    };
    let path = path.strip_prefix(root)?.to_string_lossy().replace('\\', "/");
    Ok(Some(TextFile { path, text }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_recognised_by_its_folder_or_its_name() {
        for path in [
            "tests/src/lib.rs",
            "registry/tests/a.rs",
            "a/benches/b.rs",
            "a/src/b/tests.rs",
        ] {
            assert!(is_test_path(path), "{path}");
        }
        for path in [
            "registry/src/lib.rs",
            "xtask/src/tests_of.rs",
            "a/src/contests/b.rs",
        ] {
            assert!(!is_test_path(path), "{path}");
        }
    }

    #[test]
    fn a_file_that_only_tests_include_is_test_code() {
        let file = |path: &str, text: &str| TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let files = [
            file("a/src/lib.rs", "#[cfg(test)] mod cases; mod code;"),
            file("a/src/cases.rs", "fn a() {}"),
            file("a/src/code.rs", "fn a() {}"),
            file("a/README.md", "fn"),
            file("a/src/broken.rs", "fn {"),
        ];
        let (sources, findings) = sources(&files, &["a".to_owned()]);
        let tests: Vec<_> = sources
            .iter()
            .filter(|source| source.tokens[0].around.test)
            .collect();
        assert_eq!(sources.len(), 3);
        assert_eq!(tests.len(), 1);
        assert_eq!(tests[0].path, "a/src/cases.rs");
        assert!(
            sources
                .iter()
                .any(|source| source.library && source.path == "a/src/code.rs")
        );
        assert!(
            findings[0]
                .to_string()
                .starts_with("a/src/broken.rs: is not Rust")
        );
    }
}
