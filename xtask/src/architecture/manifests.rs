//! What a manifest owes those who build the repository and those who depend on a package.

use crate::{
    finding::Finding,
    workspace::{Dependency, Package, Workspace},
};

/// Members that a plain `cargo build` leaves out: whole-system tests and the servers for them, and the one backend whose
/// build needs protoc.
const NOT_BY_DEFAULT: [&str; 7] = [
    "micro-bench",
    "micro-loom",
    "micro-simulation",
    "micro-tests",
    "micro-test-dashboard",
    "micro-test-servers",
    "micro-registry-etcd",
];

/// The features that are on unless somebody switches them off; everything else is asked for.
const DEFAULTS: [(&str, &[&str]); 2] = [("micro-rs", &["mdns"]), ("micro-cli", &["mdns", "consul"])];

/// Every manifest's shortcomings.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    workspace
        .members()
        .flat_map(|package| {
            let place = workspace.folder(package);
            shortcomings(workspace, package)
                .into_iter()
                .map(move |message| Finding::new(place.clone(), message))
        })
        .collect()
}

fn shortcomings(workspace: &Workspace, package: &Package) -> Vec<String> {
    let mut messages = Vec::new();
    if package.license.is_none() {
        messages.push("has no licence: add `license.workspace = true`".to_owned());
    }
    if package.is_published() {
        if package.description.is_none() {
            messages.push("is published and has no description".to_owned());
        }
        messages.extend(package.dependencies.iter().filter_map(|dependency| {
            // Cargo leaves those of the tests out of what it publishes.
            let published = dependency.kind.as_deref() != Some("dev");
            (published && dependency.req == "*").then(|| {
                format!(
                    "is published and depends on `{}` without a version",
                    dependency.name
                )
            })
        }));
    }
    messages.extend(wrong_default_membership(workspace, package));
    messages.extend(wrong_default_features(package));
    messages.extend(package.dependencies.iter().filter_map(unasked_features));
    messages
}

fn wrong_default_membership(workspace: &Workspace, package: &Package) -> Option<String> {
    let left_out = NOT_BY_DEFAULT.contains(&package.name.as_str());
    match (left_out, workspace.builds_by_default(package)) {
        (true, true) => Some("must not be one of the default members".to_owned()),
        (false, false) => Some("must be one of the default members".to_owned()),
        (true, false) | (false, true) => None,
    }
}

fn wrong_default_features(package: &Package) -> Option<String> {
    let expected = DEFAULTS
        .iter()
        .find(|(name, _)| *name == package.name)
        .map_or(&[][..], |(_, features)| features);
    let found = package.features.get("default").map_or(&[][..], Vec::as_slice);
    (found != expected).then(|| format!("has the default features {found:?}, not {expected:?}"))
}

/// Members choose the framework's features themselves: its defaults would come along whatever they choose.
fn unasked_features(dependency: &Dependency) -> Option<String> {
    (dependency.name == "micro-rs" && dependency.uses_default_features)
        .then(|| "must take the framework without its default features".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Package {
        Package {
            name: "micro-registry".to_owned(),
            manifest_path: "/repository/registry/Cargo.toml".to_owned(),
            description: Some("The contract".to_owned()),
            license: Some("MIT OR Apache-2.0".to_owned()),
            ..Package::default()
        }
    }

    fn findings(package: Package) -> Vec<String> {
        let findings = check(&Workspace::of_members([package]));
        findings.iter().map(ToString::to_string).collect()
    }

    fn depends_on(name: &str, requirement: &str, uses_default_features: bool) -> Vec<Dependency> {
        vec![Dependency {
            name: name.to_owned(),
            req: requirement.to_owned(),
            uses_default_features,
            ..Dependency::default()
        }]
    }

    fn default_features(features: &[&str]) -> std::collections::BTreeMap<String, Vec<String>> {
        let features = features.iter().map(ToString::to_string).collect();
        [("default".to_owned(), features)].into()
    }

    #[test]
    fn a_sound_manifest_has_no_shortcoming() {
        assert_eq!(findings(sound()), [""; 0]);
    }

    #[test]
    fn a_manifest_without_licence_or_description_is_found() {
        let package = Package {
            description: None,
            license: None,
            ..sound()
        };
        assert_eq!(
            findings(package),
            [
                "registry: has no licence: add `license.workspace = true`",
                "registry: is published and has no description",
            ]
        );
    }

    #[test]
    fn a_dependency_by_path_alone_cannot_be_published() {
        let dependencies = depends_on("micro-build", "*", true);
        let package = Package {
            dependencies,
            ..sound()
        };
        assert_eq!(
            findings(package.clone()),
            ["registry: is published and depends on `micro-build` without a version"]
        );
        let mut of_tests = package.clone();
        of_tests.dependencies[0].kind = Some("dev".to_owned());
        assert_eq!(findings(of_tests), [""; 0]);
        let publish = Some(Vec::new());
        assert_eq!(findings(Package { publish, ..package }), [""; 0]);
    }

    #[test]
    fn default_members_are_all_but_those_that_need_more_than_rust() {
        let name = "micro-tests".to_owned();
        assert_eq!(
            findings(Package { name, ..sound() }),
            ["registry: must not be one of the default members"]
        );
        let workspace = Workspace::of_members([sound()]).without_default_members();
        assert_eq!(
            check(&workspace)[0].to_string(),
            "registry: must be one of the default members"
        );
    }

    #[test]
    fn a_feature_is_on_only_if_the_list_says_so() {
        let features = default_features(&["conformance"]);
        assert_eq!(
            findings(Package { features, ..sound() }),
            [r#"registry: has the default features ["conformance"], not []"#]
        );
        let (name, features) = ("micro-rs".to_owned(), default_features(&["mdns"]));
        assert_eq!(
            findings(Package {
                name,
                features,
                ..sound()
            }),
            [""; 0]
        );
    }

    #[test]
    fn a_member_takes_the_framework_without_its_defaults() {
        let dependencies = depends_on("micro-rs", "^0.1", true);
        assert_eq!(
            findings(Package {
                dependencies,
                ..sound()
            }),
            ["registry: must take the framework without its default features"]
        );
    }
}
