//! The table `[run]` of `micro.toml`: what `micro run` does when the command line does not say.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny},
};

use super::arguments::NODES_MAX;
use crate::{
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
    /// The folders of the services to run together, from that of the file. Default: the package of the file alone.
    pub(super) services: Option<Vec<PathBuf>>,
    /// Whether a gateway stands beside the services, and where. Default: at 127.0.0.1:8080, or where else there is room.
    pub(super) gateway: Option<Beside>,
}

/// The gateway beside the services: `true`, `false`, or where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    /// None.
    Nothing,
    /// Where there is room.
    Anywhere,
    /// There or nowhere.
    At(String),
}

impl<'de> Deserialize<'de> for Beside {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Said;
        impl de::Visitor<'_> for Said {
            type Value = Beside;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or an address such as \"127.0.0.1:8080\"")
            }

            fn visit_bool<E: de::Error>(self, is_there: bool) -> Result<Beside, E> {
                Ok(if is_there {
                    Beside::Anywhere
                } else {
                    Beside::Nothing
                })
            }

            fn visit_str<E: de::Error>(self, address: &str) -> Result<Beside, E> {
                Ok(Beside::At(address.to_owned()))
            }
        }
        deserializer.deserialize_any(Said)
    }
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

/// What `micro run` looks at in `micro.toml`.
#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    run: Settings,
    #[serde(default)]
    client: Client,
}

/// What is the framework's, which checks it.
#[derive(Default, Deserialize)]
struct Client {
    own_loopback: Option<IgnoredAny>,
}

/// Where the service that is run finds its settings: `MICRO_CONFIG`, or `micro.toml` in its folder.
#[derive(Clone, Debug)]
pub(crate) struct SettingsFile {
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

    /// Where it is, or would be.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The absolute form of `MICRO_CONFIG`, for nodes that run in another folder; `None` when it is not set.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.is_named.then_some(self.path.as_path())
    }

    /// Whether it says whose loopback addresses in the registry are.
    pub(super) fn tells_of_loopback(&self) -> Result<bool> {
        read(&self.path, self.is_named).map(|file: File| file.client.own_loopback.is_some())
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
            services: None,
            gateway: None,
        };
        assert_eq!(settings, expected);
        assert_eq!(parse("[server]\nname = \"x\"").unwrap(), Settings::default());
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let error = parse("[run]\nnode = 3\n").unwrap_err();
        assert_eq!(
            error,
            "line 2: unknown field `node`, expected one of `nodes`, `bin`, `release`, `watch`, `services`, `gateway`"
        );
    }

    #[test]
    fn a_gateway_is_there_or_not_or_at_an_address() {
        let gateway =
            |text: &str| parse(&format!("[run]\ngateway = {text}")).map(|settings| settings.gateway);
        assert_eq!(gateway("true"), Ok(Some(Beside::Anywhere)));
        assert_eq!(gateway("false"), Ok(Some(Beside::Nothing)));
        assert_eq!(gateway("\"a:1\""), Ok(Some(Beside::At("a:1".to_owned()))));
        let error = gateway("8080").unwrap_err();
        assert!(
            error.starts_with("line 2: ") && error.contains("expected true, false or an address"),
            "{error}"
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
