//! Who may depend on whom.

use crate::{
    finding::Finding,
    workspace::{Dependency, Package, Workspace},
};

/// What a package is to the others; its folder says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Registry,
    Tls,
    Backend,
    Framework,
    Codegen,
    Dynamic,
    Gateway,
    Cli,
    Example,
    Servers,
    Simulation,
    Loom,
    Tests,
    Bench,
    Xtask,
}

/// The arrows. Whole-system tests and benchmarks may know everybody and are not listed; what stands on no left side
/// knows nobody.
const MAY_KNOW: [(Part, &[Part]); 7] = [
    (Part::Tls, &[Part::Registry]),
    (Part::Backend, &[Part::Registry, Part::Tls]),
    (Part::Framework, &[Part::Backend, Part::Registry, Part::Tls]),
    (Part::Gateway, &[Part::Framework, Part::Dynamic]),
    (Part::Cli, &[Part::Gateway, Part::Framework, Part::Dynamic]),
    (Part::Simulation, &[Part::Framework, Part::Registry]),
    (Part::Example, &[Part::Framework, Part::Codegen, Part::Registry]),
];

/// The arrows of tests alone: a backend's own start the servers that it speaks to.
const TESTS_MAY_KNOW: [(Part, &[Part]); 1] = [(Part::Backend, &[Part::Servers])];

/// What the registry contract must not be built with: it knows no gRPC, no configuration and no backend's protocol.
const NOT_IN_REGISTRY: [&str; 9] = [
    "config",
    "etcd-client",
    "http",
    "hyper",
    "mdns-sd",
    "prost",
    "reqwest",
    "tonic",
    "tower",
];

/// Every edge between members that the arrows do not have.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.members() {
        let folder = workspace.folder(package);
        let Some(part) = Part::of(&folder) else {
            findings.push(Finding::new(
                folder,
                "has no place in the architecture: add it to `Part` in xtask/src/architecture/direction.rs",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(known) = part_of_member(workspace, &dependency.name) else {
                continue;
            };
            // A package's own tests may turn a feature of it on by naming it.
            if dependency.name == package.name {
                continue;
            }
            findings.extend(refusal(part, known, dependency).map(|why| Finding::new(folder.clone(), why)));
        }
        if part == Part::Registry {
            findings.extend(foreign_to_the_contract(workspace, package));
        }
    }
    findings
}

impl Part {
    fn of(folder: &str) -> Option<Self> {
        Some(match folder {
            "registry" => Self::Registry,
            "tls" => Self::Tls,
            "framework" => Self::Framework,
            "codegen" => Self::Codegen,
            "dynamic" => Self::Dynamic,
            "gateway" => Self::Gateway,
            "cli" => Self::Cli,
            "simulation" => Self::Simulation,
            "loom" => Self::Loom,
            "tests" | "tests/dashboard" => Self::Tests,
            "tests/servers" => Self::Servers,
            "bench" => Self::Bench,
            "xtask" => Self::Xtask,
            _ if folder.starts_with("registry-") => Self::Backend,
            _ if folder.starts_with("examples/") => Self::Example,
            _ => return None,
        })
    }

    fn may_know(self, other: Self, in_tests: bool) -> bool {
        let of_tests = if in_tests { &TESTS_MAY_KNOW[..] } else { &[] };
        matches!(self, Self::Tests | Self::Bench)
            || MAY_KNOW
                .iter()
                .chain(of_tests)
                .any(|(part, known)| *part == self && known.contains(&other))
    }
}

fn part_of_member(workspace: &Workspace, name: &str) -> Option<Part> {
    let package = workspace.members().find(|package| package.name == name)?;
    Part::of(&workspace.folder(package))
}

/// Why `part` may not depend on `known` like this; `None` when it may.
fn refusal(part: Part, known: Part, dependency: &Dependency) -> Option<String> {
    let name = &dependency.name;
    if !part.may_know(known, dependency.kind.as_deref() == Some("dev")) {
        return Some(format!(
            "must not depend on `{name}`: {part:?} does not know {known:?}"
        ));
    }
    let compiled_in = dependency.kind.is_none() && !dependency.optional;
    if part == Part::Framework && known == Part::Backend && compiled_in {
        return Some(format!("must name the backend `{name}` behind a feature"));
    }
    None
}

fn foreign_to_the_contract(workspace: &Workspace, registry: &Package) -> Vec<Finding> {
    workspace
        .reachable(registry)
        .into_iter()
        .filter(|name| NOT_IN_REGISTRY.contains(name))
        .map(|name| {
            Finding::new(
                "registry",
                format!("is built with `{name}`, which the contract must not know"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every part once, in the order of the diagram, with a name of its own.
    const MEMBERS: [(&str, &str); 12] = [
        ("micro-registry", "registry"),
        ("micro-registry-mdns", "registry-mdns"),
        ("micro-rs", "framework"),
        ("micro-build", "codegen"),
        ("micro-dynamic", "dynamic"),
        ("micro-gateway", "gateway"),
        ("micro-cli", "cli"),
        ("greeter", "examples/greeter"),
        ("micro-test-servers", "tests/servers"),
        ("micro-tests", "tests"),
        ("micro-bench", "bench"),
        ("xtask", "xtask"),
    ];

    /// The findings in a workspace that has the one edge `from` → `to`.
    fn findings(from: &str, to: &Dependency) -> Vec<Finding> {
        let packages = MEMBERS.map(|(name, folder)| Package {
            name: name.to_owned(),
            manifest_path: format!("/repository/{folder}/Cargo.toml"),
            dependencies: if name == from {
                vec![to.clone()]
            } else {
                Vec::new()
            },
            ..Package::default()
        });
        check(&Workspace::of_members(packages))
    }

    fn optional(name: &str) -> Dependency {
        Dependency {
            name: name.to_owned(),
            optional: true,
            ..Dependency::default()
        }
    }

    #[test]
    fn the_arrows_are_exactly_these() {
        let mut allowed = Vec::new();
        for (from, _) in MEMBERS {
            for (to, _) in MEMBERS.into_iter().filter(|(to, _)| *to != from) {
                if findings(from, &optional(to)).is_empty() {
                    allowed.push(format!("{from} -> {to}"));
                }
            }
        }
        let mut expected = Vec::new();
        for all_knowing in ["micro-tests", "micro-bench"] {
            let others = MEMBERS.iter().filter(|(to, _)| *to != all_knowing);
            expected.extend(others.map(|(to, _)| format!("{all_knowing} -> {to}")));
        }
        expected.extend(
            [
                "micro-registry-mdns -> micro-registry",
                "micro-rs -> micro-registry",
                "micro-rs -> micro-registry-mdns",
                "micro-gateway -> micro-rs",
                "micro-gateway -> micro-dynamic",
                "micro-cli -> micro-dynamic",
                "micro-cli -> micro-gateway",
                "micro-cli -> micro-rs",
                "greeter -> micro-rs",
                "greeter -> micro-build",
                "greeter -> micro-registry",
            ]
            .map(str::to_owned),
        );
        allowed.sort_unstable();
        expected.sort_unstable();
        assert_eq!(allowed, expected);
    }

    #[test]
    fn the_edges_that_would_hurt_most_are_refused() {
        for (from, to) in [
            ("micro-registry", "micro-registry-mdns"),
            ("micro-registry", "micro-rs"),
            ("micro-registry-mdns", "micro-rs"),
            ("micro-rs", "micro-build"),
            ("micro-cli", "micro-registry-mdns"),
            ("xtask", "micro-registry"),
        ] {
            let findings = findings(from, &optional(to));
            assert_eq!(findings.len(), 1, "{from} -> {to}");
            assert!(findings[0].to_string().contains(to), "{}", findings[0]);
        }
    }

    #[test]
    fn the_servers_are_for_the_tests_of_backends_alone() {
        for (kind, allowed) in [(Some("dev"), true), (Some("build"), false), (None, false)] {
            let dependency = Dependency {
                kind: kind.map(str::to_owned),
                ..optional("micro-test-servers")
            };
            let is_allowed = |from| findings(from, &dependency).is_empty();
            assert_eq!(is_allowed("micro-registry-mdns"), allowed, "{kind:?}");
            assert!(!is_allowed("micro-rs"), "{kind:?}");
            assert!(is_allowed("micro-tests"), "{kind:?}");
        }
    }

    #[test]
    fn a_dev_or_build_dependency_is_an_edge_too() {
        for kind in ["dev", "build"] {
            let dependency = Dependency {
                kind: Some(kind.to_owned()),
                ..optional("micro-rs")
            };
            assert_eq!(findings("micro-registry", &dependency).len(), 1, "{kind}");
        }
    }

    #[test]
    fn a_package_may_name_itself() {
        assert_eq!(findings("micro-registry", &optional("micro-registry")), []);
    }

    #[test]
    fn the_framework_names_a_backend_behind_a_feature() {
        let always = Dependency {
            optional: false,
            ..optional("micro-registry-mdns")
        };
        let findings = findings("micro-rs", &always);
        assert!(
            findings[0].to_string().contains("behind a feature"),
            "{}",
            findings[0]
        );
    }

    #[test]
    fn a_package_without_a_place_is_found() {
        let lost = Package {
            name: "lost".to_owned(),
            manifest_path: "/repository/attic/lost/Cargo.toml".to_owned(),
            ..Package::default()
        };
        let findings = check(&Workspace::of_members([lost]));
        assert!(
            findings[0].to_string().starts_with("attic/lost: has no place"),
            "{}",
            findings[0]
        );
    }

    #[test]
    fn the_contract_is_not_built_with_grpc_even_at_second_hand() {
        let package = |name: &str, manifest: &str| Package {
            name: name.to_owned(),
            manifest_path: manifest.to_owned(),
            ..Package::default()
        };
        let registry = package("micro-registry", "/repository/registry/Cargo.toml");
        let workspace = Workspace::of_members([registry])
            .with_built(package("harmless", "/elsewhere"), "micro-registry")
            .with_built(package("tonic", "/elsewhere"), "harmless");
        assert_eq!(
            check(&workspace)[0].to_string(),
            "registry: is built with `tonic`, which the contract must not know"
        );
    }
}
