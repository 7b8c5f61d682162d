//! The table `[run]` of `micro.toml`: what `micro run` does when the command line does not say.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::{
    arguments::NODES_MAX,
    failure::{Failure, Result},
    settings::{FILE, named_file, read},
};

/// What can be said in `[run]`; the command line comes first.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    /// How many nodes to start. Default: 1.
    nodes: Option<Nodes>,
    /// Which binary of the package to run. Default: its only one, or cargo's `default-run`.
    pub(super) bin: Option<String>,
    /// Whether to build with optimisations. Default: false.
    pub(super) release: Option<bool>,
    /// Whether to build and run anew what has changed. Default: true.
    pub(super) watch: Option<bool>,
}

/// A number of nodes that can be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
struct Nodes(u16);

impl TryFrom<i64> for Nodes {
    type Error = String;

    fn try_from(number: i64) -> Result<Self, String> {
        let possible = u16::try_from(number)
            .ok()
            .filter(|number| (1..=NODES_MAX).contains(number));
        possible
            .map(Self)
            .ok_or_else(|| format!("{number} nodes cannot be run; allowed are 1 to {NODES_MAX}"))
    }
}

impl Settings {
    /// How many nodes to run, if it is said.
    pub(super) fn nodes(&self) -> Option<u16> {
        self.nodes.map(|nodes| nodes.0)
    }
}

/// What is `micro run`'s in `micro.toml`.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    run: Settings,
}

/// Where the service that is run finds its settings: `MICRO_CONFIG`, or `micro.toml` in its folder.
#[derive(Debug)]
pub(super) struct SettingsFile {
    path: PathBuf,
    is_named: bool,
}

impl SettingsFile {
    /// The file of the service in `folder`; a relative `MICRO_CONFIG` counts from where the command was started.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let Some(named) = named_file() else {
            return Ok(Self {
                path: folder.join(FILE),
                is_named: false,
            });
        };
        let path = std::path::absolute(&named)
            .map_err(|error| Failure::because(format!("find `{}`", named.display()), &error))?;
        Ok(Self { path, is_named: true })
    }

    /// The absolute form of `MICRO_CONFIG`, for nodes that run in another folder; `None` when it is not set.
    pub(super) fn named(&self) -> Option<&Path> {
        self.is_named.then_some(self.path.as_path())
    }

    /// Reads the table; a file that is not there says nothing, unless it was named.
    pub(super) fn read(&self) -> Result<Settings> {
        read(&self.path, self.is_named).map(|file: File| file.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    fn parse(text: &str) -> Result<Settings, String> {
        settings::parse(text).map(|file: File| file.run)
    }

    #[test]
    fn the_table_is_read_and_the_rest_of_the_file_is_left_alone() {
        let settings = parse("registry = 7\n[run]\nnodes = 3\nbin = \"b\"\n").unwrap();
        let expected = Settings {
            nodes: Some(Nodes(3)),
            bin: Some("b".into()),
            release: None,
            watch: None,
        };
        assert_eq!(settings, expected);
        assert_eq!(parse("[server]\nname = \"x\"").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let error = parse("[run]\nnode = 3\n").unwrap_err();
        assert_eq!(
            error,
            "line 2: unknown field `node`, expected one of `nodes`, `bin`, `release`, `watch`"
        );
    }

    #[test]
    fn a_number_of_nodes_that_cannot_be_run_says_what_can() {
        for wrong in ["0", "-1", "101", "70000"] {
            let error = parse(&format!("[run]\nnodes = {wrong}")).unwrap_err();
            assert!(error.contains("allowed are 1 to 100"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_says_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = SettingsFile {
            path: folder.path().join("micro.toml"),
            is_named: false,
        };
        assert_eq!(file.read().unwrap(), Settings::default());
        let named = SettingsFile {
            is_named: true,
            ..file
        };
        assert!(named.read().unwrap_err().to_string().contains("micro.toml"));
    }
}
