//! What is around a new service: a cargo workspace that does not count it among its members would refuse to build it.

use std::{
    fs, io,
    path::{self, Path},
};

use serde::Deserialize;

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

/// Whether cargo would take the package at `path` for a forgotten member of a workspace in a folder above it.
pub(super) fn is_within_foreign_workspace(path: &Path) -> Result<bool> {
    let path = path::absolute(path)
        .map_err(|error| Failure::because(format_args!("find `{}`", path.display()), &error))?;
    for folder in path.ancestors().skip(1) {
        if let Some(workspace) = workspace_in(folder)? {
            let inside = path.strip_prefix(folder).unwrap_or(&path);
            return Ok(!workspace.knows(inside));
        }
    }
    Ok(false)
}

fn workspace_in(folder: &Path) -> Result<Option<Workspace>> {
    let path = folder.join("Cargo.toml");
    let text = match fs::read_to_string(&path) {
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
    Ok(manifest.workspace)
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Workspace {
    /// Whether it has the folder `inside` it as a member, or has left it out on purpose.
    fn knows(&self, inside: &Path) -> bool {
        let inside = inside.to_string_lossy().replace('\\', "/");
        let is_excluded = self.exclude.iter().any(|excluded| {
            let excluded = normal(excluded);
            inside == excluded || inside.starts_with(&format!("{excluded}/"))
        });
        is_excluded
            || self
                .members
                .iter()
                .any(|member| matches(&normal(member), &inside))
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

    fn is_foreign(manifest: &str, inside: &str) -> bool {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), manifest).unwrap();
        is_within_foreign_workspace(&folder.path().join(inside)).unwrap()
    }

    #[test]
    fn a_workspace_that_does_not_know_the_package_is_foreign() {
        assert!(is_foreign(
            "[workspace]\nmembers = [\"cli\", \"services/*\"]\n",
            "shop"
        ));
        assert!(is_foreign("[workspace]\n", "services/shop"));
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
            assert!(!is_foreign(&manifest, "services/shop"), "{member}");
        }
    }

    #[test]
    fn a_workspace_that_leaves_it_out_is_not() {
        assert!(!is_foreign(
            "[workspace]\nexclude = [\"services\"]\n",
            "services/shop"
        ));
    }

    #[test]
    fn a_package_around_it_is_no_workspace() {
        assert!(!is_foreign("[package]\nname = \"a\"\n", "shop"));
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("Cargo.toml"), "[workspace").unwrap();
        assert!(is_within_foreign_workspace(&folder.path().join("shop")).is_err());
    }
}
