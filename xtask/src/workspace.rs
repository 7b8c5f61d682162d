//! The workspace as `cargo metadata` tells it: only what the checks look at.

use std::{collections::BTreeMap, env, process::Command};

use serde::Deserialize;

use crate::{Result, cargo::root};

/// The members, and everything that all of their features together pull in.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_default_members: Vec<String>,
    workspace_root: String,
    resolve: Resolve,
}

/// A package: a member of the workspace or something it depends on.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) description: Option<String>,
    pub(crate) license: Option<String>,
    pub(crate) manifest_path: String,
    /// `None`: anywhere; empty: nowhere.
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// A dependency as the manifest declares it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` is a normal one; else `dev` or `build`.
    pub(crate) kind: Option<String>,
    pub(crate) req: String,
    pub(crate) optional: bool,
    pub(crate) uses_default_features: bool,
}

/// Something cargo builds of a package.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

/// A package and what it is built with once features are resolved.
#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

impl Workspace {
    /// Asks cargo, with all features on.
    pub(crate) fn read() -> Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let rustc = answer(Command::new("rustc").arg("-vV"))?;
        let rustc = String::from_utf8(rustc)?;
        let platform = rustc.lines().find_map(|line| line.strip_prefix("host: "));
        let platform = platform.ok_or("rustc does not say for which platform it builds")?;
        // For all platforms, cargo would need packages that a build on this one never downloads.
        let arguments = [
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--filter-platform",
            platform,
        ];
        let metadata = answer(Command::new(cargo).args(arguments).current_dir(root()))?;
        Ok(serde_json::from_slice(&metadata)?)
    }

    /// The packages of this repository.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Every package that some feature of some member builds, members included.
    pub(crate) fn built(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.resolve.nodes.iter().any(|node| node.id == package.id))
    }

    /// Whether a plain `cargo build` at the root builds `package`.
    pub(crate) fn builds_by_default(&self, package: &Package) -> bool {
        self.workspace_default_members.contains(&package.id)
    }

    /// The folder of `package`, relative to the root, with `/`.
    pub(crate) fn folder(&self, package: &Package) -> String {
        let folder = package
            .manifest_path
            .strip_prefix(&self.workspace_root)
            .unwrap_or(&package.manifest_path)
            .replace('\\', "/");
        folder
            .trim_matches('/')
            .trim_end_matches("/Cargo.toml")
            .to_owned()
    }

    /// The names of everything `package` is built with, directly or not.
    pub(crate) fn reachable(&self, package: &Package) -> Vec<&str> {
        let mut found = vec![package.id.as_str()];
        let mut next = 0;
        while let Some(id) = found.get(next) {
            next += 1;
            let node = self.resolve.nodes.iter().find(|node| node.id == *id);
            for dependency in node.iter().flat_map(|node| &node.dependencies) {
                if !found.contains(&dependency.as_str()) {
                    found.push(dependency);
                }
            }
        }
        let name_of = |id| self.packages.iter().find(|package| package.id == id);
        found
            .into_iter()
            .skip(1)
            .filter_map(name_of)
            .map(|package| package.name.as_str())
            .collect()
    }

    /// For every published package, the arguments by which cargo builds it as somebody who depends on it alone does.
    pub(crate) fn packages_alone(&self) -> Vec<String> {
        let mut selections = Vec::new();
        for package in self.members().filter(|package| package.is_published()) {
            selections.push(format!("--package {}", package.name));
            if package
                .features
                .get("default")
                .is_some_and(|features| !features.is_empty())
            {
                selections.push(format!("--package {} --no-default-features", package.name));
            }
        }
        selections
    }
}

/// What a program writes to standard output.
fn answer(command: &mut Command) -> Result<Vec<u8>> {
    let output = command
        .output()
        .map_err(|error| format!("start {command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(output.stdout)
}

impl Package {
    /// Whether others may get it from a package registry.
    pub(crate) fn is_published(&self) -> bool {
        self.publish
            .as_ref()
            .is_none_or(|registries| !registries.is_empty())
    }

    /// Whether other crates can link it.
    pub(crate) fn is_library(&self) -> bool {
        self.targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "lib"))
    }
}

#[cfg(test)]
impl Workspace {
    /// A workspace of `members` alone, all of them built by default; their names are their ids.
    pub(crate) fn of_members(members: impl IntoIterator<Item = Package>) -> Self {
        let mut workspace = Self {
            packages: Vec::new(),
            workspace_members: Vec::new(),
            workspace_default_members: Vec::new(),
            workspace_root: "/repository".to_owned(),
            resolve: Resolve { nodes: Vec::new() },
        };
        for member in members {
            workspace.workspace_members.push(member.name.clone());
            workspace.workspace_default_members.push(member.name.clone());
            let id = member.name.clone();
            workspace.add(Package { id, ..member });
        }
        workspace
    }

    /// Adds a package that is built because `dependant` depends on it.
    pub(crate) fn with_built(mut self, package: Package, dependant: &str) -> Self {
        let id = format!("{} {}", package.name, package.version);
        let of_dependant = self.packages.iter().find(|package| package.name == dependant);
        let of_dependant = of_dependant.expect("the dependant was added before").id.clone();
        let node = self.resolve.nodes.iter_mut().find(|node| node.id == of_dependant);
        node.expect("a package has a node").dependencies.push(id.clone());
        self.add(Package { id, ..package });
        self
    }

    /// Takes all members out of a plain `cargo build`.
    pub(crate) fn without_default_members(mut self) -> Self {
        self.workspace_default_members.clear();
        self
    }

    fn add(&mut self, package: Package) {
        self.resolve.nodes.push(Node {
            id: package.id.clone(),
            dependencies: Vec::new(),
        });
        self.packages.push(package);
    }
}
