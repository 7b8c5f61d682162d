//! The cargo workspace around a new service: one that does not count it among its members would refuse to build it.

use std::{
    fs, io,
    path::{self, Path, PathBuf},
};

use serde::Deserialize;
use toml_edit::{Array, DocumentMut, Item, Value};

use crate::failure::{Failure, Result};

/// A `Cargo.toml`, as far as it matters here.
#[derive(Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Workspace {
    members: Vec<String>,
    exclude: Vec<String>,
}

/// A workspace's manifest that has to name one member more.
#[derive(Debug)]
pub(super) struct Membership {
    manifest: PathBuf,
    member: String,
    text: String,
}

impl Membership {
    /// What is to be written for the package at `path`, if it is in a workspace that neither has it as a member nor leaves
    /// it out. Writes nothing.
    pub(super) fn of(path: &Path) -> Result<Option<Self>> {
        let path = path::absolute(path)
            .map_err(|error| Failure::because(format_args!("find `{}`", path.display()), &error))?;
        for folder in path.ancestors().skip(1) {
            let manifest = folder.join("Cargo.toml");
            let Some((text, workspace)) = workspace_in(&manifest)? else {
                continue;
            };
            let member = member(path.strip_prefix(folder).unwrap_or(&path));
            if workspace.knows(&member) {
                return Ok(None);
            }
            let text = with_member(&text, &member).ok_or_else(|| {
                let manifest = manifest.display();
                Failure::new(format!(
                    "`{manifest}`: `workspace.members` is no list that `{member}` can be added to"
                ))
            })?;
            return Ok(Some(Self {
                manifest,
                member,
                text,
            }));
        }
        Ok(None)
    }

    /// Writes the manifest.
    pub(super) fn write(&self) -> Result<()> {
        fs::write(&self.manifest, &self.text).map_err(|error| {
            Failure::because(format_args!("cannot write `{}`", self.manifest.display()), &error)
        })
    }

    pub(super) fn manifest(&self) -> &Path {
        &self.manifest
    }

    pub(super) fn member(&self) -> &str {
        &self.member
    }
}

/// The manifest with one member more, and everything else as it was.
fn with_member(text: &str, member: &str) -> Option<String> {
    let mut document: DocumentMut = text.parse().ok()?;
    let workspace = document.get_mut("workspace")?.as_table_like_mut()?;
    let members = workspace
        .entry("members")
        .or_insert(Item::Value(Value::Array(Array::new())))
        .as_array_mut()?;
    match own_line(members) {
        Some(line) => push_on(members, member, &line),
        None => members.push(member),
    }
    Some(document.to_string())
}

/// What stands before the last member, if that is a line break and an indent.
fn own_line(members: &Array) -> Option<String> {
    let before = members.iter().last()?.decor().prefix()?.as_str()?;
    before.rfind('\n').map(|at| before[at..].to_owned())
}

/// Adds a member on a line of its own. What stands behind the one before it, such as a comment, stays there.
fn push_on(members: &mut Array, member: &str, line: &str) {
    let mut behind = members.trailing().as_str().unwrap_or_default().to_owned();
    if let Some(last) = members.iter_mut().last() {
        let suffix = last.decor().suffix().and_then(|suffix| suffix.as_str());
        behind.insert_str(0, suffix.unwrap_or_default());
        last.decor_mut().set_suffix("");
    }
    let mut value = Value::from(member);
    value
        .decor_mut()
        .set_prefix(format!("{}{line}", behind.trim_end()));
    members.push_formatted(value);
    members.set_trailing("\n");
    members.set_trailing_comma(true);
}

/// The path of a member as workspaces have it.
fn member(inside: &Path) -> String {
    inside.to_string_lossy().replace('\\', "/")
}

/// The text of the manifest at `path`, if it is one of a workspace.
fn workspace_in(path: &Path) -> Result<Option<(String, Workspace)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => {
            return Err(Failure::because(
                format_args!("cannot read `{}`", path.display()),
                &error,
            ));
        }
    };
    let manifest: Manifest = toml::from_str(&text)
        .map_err(|error| Failure::because(format_args!("cannot read `{}`", path.display()), &error))?;
    Ok(manifest.workspace.map(|workspace| (text, workspace)))
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Workspace {
    /// Whether it has the folder `inside` it as a member, or has left it out on purpose.
    fn knows(&self, inside: &str) -> bool {
        let is_excluded = self.exclude.iter().any(|excluded| {
            let excluded = normal(excluded);
            inside == excluded || inside.starts_with(&format!("{excluded}/"))
        });
        is_excluded || self.members.iter().any(|member| matches(&normal(member), inside))
    }
}

fn normal(pattern: &str) -> String {
    pattern.trim_start_matches("./").trim_end_matches('/').to_owned()
}

/// Whether a member's path means the folder; `*` stands for a part of a name, as in `services/*`.
fn matches(pattern: &str, folder: &str) -> bool {
    let (patterns, names): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), folder.split('/').collect());
    patterns.len() == names.len()
        && patterns
            .iter()
            .zip(names)
            .all(|(pattern, name)| matches_name(pattern, name))
}

fn matches_name(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else {
        return pattern == name;
    };
    name.strip_prefix(before).is_some_and(|rest| {
        let ends = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
        ends.into_iter().any(|index| matches_name(after, &rest[index..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manifest as it has to become, if anything, for a package in the folder `inside`.
    fn becomes(manifest: &str, inside: &str) -> Option<String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        let membership = Membership::of(&folder.path().join(inside)).unwrap();
        membership.map(|membership| membership.text)
    }

    #[test]
    fn a_workspace_that_does_not_know_the_package_gets_it_as_a_member() {
        for (before, after) in [
            (
                "[workspace]\nmembers = [\"cli\", \"services/*\"]\n",
                "[workspace]\nmembers = [\"cli\", \"services/*\", \"shop/orders\"]\n",
            ),
            (
                "[workspace]\nresolver = \"3\"\n",
                "[workspace]\nresolver = \"3\"\nmembers = [\"shop/orders\"]\n",
            ),
            (
                "# Ours.\n[workspace]\nmembers = [\n    # First.\n    \"cli\",\n    \"web\", # Last.\n]\n\n[profile.dev]\n",
                "# Ours.\n[workspace]\nmembers = [\n    # First.\n    \"cli\",\n    \"web\", # Last.\n    \"shop/orders\",\n]\n\n[profile.dev]\n",
            ),
            (
                "[workspace]\nmembers = [\n    \"cli\"\n]\n",
                "[workspace]\nmembers = [\n    \"cli\",\n    \"shop/orders\",\n]\n",
            ),
            (
                "workspace = { members = [] }\n",
                "workspace = { members = [\"shop/orders\"] }\n",
            ),
        ] {
            assert_eq!(becomes(before, "shop/orders").as_deref(), Some(after));
        }
    }

    #[test]
    fn a_workspace_that_has_it_as_a_member_is_not() {
        for member in [
            "services/shop",
            "./services/shop/",
            "services/*",
            "services/s*p",
            "*/*",
        ] {
            let manifest = format!("[workspace]\nmembers = [\"{member}\"]\n");
            assert_eq!(becomes(&manifest, "services/shop"), None, "{member}");
        }
    }

    #[test]
    fn a_workspace_that_leaves_it_out_is_not() {
        let manifest = "[workspace]\nexclude = [\"services\"]\n";
        assert_eq!(becomes(manifest, "services/shop"), None);
    }

    #[test]
    fn a_package_around_it_is_no_workspace() {
        assert_eq!(becomes("[package]\nname = \"a\"\n", "shop"), None);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "[workspace").unwrap();
        assert!(Membership::of(&folder.path().join("shop")).is_err());
    }
}
