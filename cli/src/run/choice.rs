//! Which services `micro run` runs: a package, those that `[run] services` lists, or those that a folder contains.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use super::{
    arguments::NODES_MAX,
    package::{MANIFEST, Package},
    settings::{Settings, SettingsFile},
};
use crate::{
    failure::{Failure, Result},
    settings::FILE,
};

/// The most services of one `micro run`.
const SERVICES_MAX: usize = 32;
/// How many folders deep the services of a folder may be.
const DEPTH_MAX: usize = 3;

/// What is to run.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) services: Vec<Chosen>,
    /// The folder that was named, or the present one if several were.
    pub(super) base: PathBuf,
    /// The settings of that folder, which count where a service says nothing of its own.
    pub(super) common: Settings,
    /// Where those stand.
    pub(super) file: SettingsFile,
}

/// A service that is to run.
#[derive(Debug)]
pub(super) struct Chosen {
    /// The folder of its package, absolute.
    pub(super) folder: PathBuf,
    pub(super) file: SettingsFile,
    pub(super) settings: Settings,
}

impl Choice {
    /// What is meant by these paths, none of which is built or read by cargo yet.
    pub(super) fn of(paths: &[PathBuf]) -> Result<Self> {
        let base = match paths {
            [only] => folder_of(only)?,
            _ => folder_of(Path::new("."))?,
        };
        let mut folders = Vec::new();
        for path in paths {
            folders.extend(services_of(path)?);
        }
        let mut seen = HashSet::new();
        folders.retain(|folder| seen.insert(folder.clone()));
        if folders.len() > SERVICES_MAX {
            return Err(Failure::usage(format!(
                "{} services are too many; at most {SERVICES_MAX} can be run together",
                folders.len()
            )));
        }
        let services = folders.into_iter().map(Chosen::in_folder);
        let services = services.collect::<Result<Vec<_>>>()?;
        let file = SettingsFile::of(&base)?;
        let common = file.read()?;
        if common.services.is_some() && common.bin.is_some() {
            return Err(Failure::usage(format!(
                "`{}`: `bin` belongs into the {FILE} of a service, not beside `services`",
                file.path().display()
            )));
        }
        Ok(Self {
            services,
            base,
            common,
            file,
        })
    }

    /// How many nodes of each to run, where `typed` is what the command line says.
    pub(super) fn nodes(&self, typed: Option<u16>) -> Result<Vec<usize>> {
        let nodes = |chosen: &Chosen| {
            typed
                .or(chosen.settings.nodes())
                .or(self.common.nodes())
                .unwrap_or(1)
        };
        let nodes: Vec<_> = self
            .services
            .iter()
            .map(|chosen| usize::from(nodes(chosen)))
            .collect();
        let all: usize = nodes.iter().sum();
        if all > usize::from(NODES_MAX) {
            return Err(Failure::usage(format!(
                "{all} nodes are too many; at most {NODES_MAX} can be run together"
            )));
        }
        Ok(nodes)
    }
}

impl Chosen {
    fn in_folder(folder: PathBuf) -> Result<Self> {
        let file = SettingsFile::of(&folder)?;
        let settings = file.read()?;
        Ok(Self {
            folder,
            file,
            settings,
        })
    }
}

/// The folders of the packages that a path means.
fn services_of(path: &Path) -> Result<Vec<PathBuf>> {
    let folder = folder_of(path)?;
    let file = SettingsFile::of(&folder)?;
    if let Some(listed) = file.read()?.services {
        return listed_in(&file, &listed);
    }
    if is_package(&folder) {
        return Ok(vec![folder]);
    }
    let mut found = Vec::new();
    below(&folder, DEPTH_MAX, &mut found);
    if !found.is_empty() {
        return Ok(found);
    }
    // A workspace is answered with its packages, once cargo has been asked.
    Package::folder(path).map(|folder| vec![folder])
}

fn listed_in(file: &SettingsFile, listed: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let shown = file.path().display();
    if listed.is_empty() {
        return Err(Failure::usage(format!("`{shown}`: `services` lists none")));
    }
    let from = file.path().parent().unwrap_or(Path::new("."));
    let folder = |service: &PathBuf| {
        let folder = Package::folder(&from.join(service));
        folder
            .map_err(|failure| Failure::usage(format!("`{shown}` lists `{}`: {failure}", service.display())))
    };
    listed.iter().map(folder).collect()
}

/// The folder at `path`, absolute; `path` may also be the `Cargo.toml` or the `micro.toml` in it.
fn folder_of(path: &Path) -> Result<PathBuf> {
    let is_file = path
        .file_name()
        .is_some_and(|name| name == MANIFEST || name == FILE);
    let folder = if is_file { path.parent() } else { Some(path) };
    // The parent of a bare file name is empty.
    let folder = folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    match fs::canonicalize(folder) {
        Ok(folder) if folder.is_dir() => Ok(folder),
        Ok(_) => Err(Failure::usage(format!("`{}` is no folder", folder.display()))),
        Err(error) => Err(Failure::usage(format!("open `{}`: {error}", folder.display()))),
    }
}

/// Whether cargo has a package there, and not merely a workspace of some.
fn is_package(folder: &Path) -> bool {
    let Ok(text) = fs::read_to_string(folder.join(MANIFEST)) else {
        return false;
    };
    // What is no TOML is for cargo to complain of.
    toml::from_str::<toml::Table>(&text).map_or(true, |manifest| manifest.contains_key("package"))
}

/// Adds the folders with the settings of a service in them; what cannot be read has none.
fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(std::result::Result::ok);
    let mut folders: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| {
            !entry.file_name().to_string_lossy().starts_with('.') && entry.file_name() != "target"
        })
        .map(|entry| entry.path())
        .collect();
    folders.sort_unstable();
    for folder in folders {
        if folder.join(FILE).is_file() && is_package(&folder) {
            found.push(folder);
        } else if depth > 1 {
            below(&folder, depth - 1, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A folder with these files; a manifest says what its package needs.
    fn world(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn chosen(world: &TempDir, path: &str) -> Result<Vec<String>, String> {
        let choice = Choice::of(&[world.path().join(path)]).map_err(|failure| failure.to_string())?;
        let root = fs::canonicalize(world.path()).unwrap();
        let folders = choice.services.iter().map(|service| {
            let folder = service.folder.strip_prefix(&root).unwrap();
            folder.display().to_string()
        });
        Ok(folders.collect())
    }

    const PACKAGE: &str = "[package]\nname = \"a\"\n";

    #[test]
    fn a_package_is_itself_and_a_list_is_what_it_lists_in_its_order() {
        let world = world(&[
            ("micro.toml", "[run]\nservices = [\"shop/orders\", \"greeter\"]"),
            ("greeter/Cargo.toml", PACKAGE),
            ("shop/orders/Cargo.toml", PACKAGE),
        ]);
        assert_eq!(chosen(&world, "greeter").unwrap(), ["greeter"]);
        assert_eq!(chosen(&world, "greeter/Cargo.toml").unwrap(), ["greeter"]);
        assert_eq!(chosen(&world, "").unwrap(), ["shop/orders", "greeter"]);
        assert_eq!(chosen(&world, "micro.toml").unwrap(), ["shop/orders", "greeter"]);
    }

    #[test]
    fn a_folder_is_the_packages_below_it_that_have_settings() {
        let world = world(&[
            ("Cargo.toml", "[workspace]"),
            ("b/Cargo.toml", PACKAGE),
            ("b/micro.toml", ""),
            ("a/Cargo.toml", PACKAGE),
            ("a/micro.toml", ""),
            ("library/Cargo.toml", PACKAGE),
            ("target/package/Cargo.toml", PACKAGE),
            ("target/package/micro.toml", ""),
            ("shop/orders/Cargo.toml", PACKAGE),
            ("shop/orders/micro.toml", ""),
        ]);
        assert_eq!(chosen(&world, "").unwrap(), ["a", "b", "shop/orders"]);
        assert_eq!(chosen(&world, "shop").unwrap(), ["shop/orders"]);
    }

    #[test]
    fn what_is_listed_and_is_not_there_is_told_with_the_file() {
        let world = world(&[
            ("micro.toml", "[run]\nservices = [\"greeter\"]"),
            ("empty/micro.toml", "[run]\nservices = []"),
            ("bin/micro.toml", "[run]\nservices = [\"a\"]\nbin = \"b\""),
            ("bin/a/Cargo.toml", PACKAGE),
        ]);
        let error = chosen(&world, "").unwrap_err();
        assert!(
            error.contains("micro.toml` lists `greeter`: no package at"),
            "{error}"
        );
        assert!(
            chosen(&world, "empty")
                .unwrap_err()
                .contains("`services` lists none")
        );
        assert!(chosen(&world, "bin").unwrap_err().contains("`bin` belongs into"));
        assert!(chosen(&world, "nowhere").unwrap_err().starts_with("open `"));
    }

    #[test]
    fn nodes_are_those_of_the_line_then_of_the_service_then_of_the_list() {
        let world = world(&[
            ("micro.toml", "[run]\nservices = [\"a\", \"b\", \"a\"]\nnodes = 2"),
            ("a/Cargo.toml", PACKAGE),
            ("b/Cargo.toml", PACKAGE),
            ("b/micro.toml", "[run]\nnodes = 3"),
        ]);
        let choice = Choice::of(&[world.path().to_owned()]).unwrap();
        assert_eq!(choice.nodes(None).unwrap(), [2, 3]);
        assert_eq!(choice.nodes(Some(4)).unwrap(), [4, 4]);
        let error = choice.nodes(Some(51)).unwrap_err().to_string();
        assert!(error.contains("at most 100"), "{error}");
    }
}
