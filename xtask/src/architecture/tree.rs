//! What may be compiled in: one provider of TLS, and one version of everything whose types cross our borders.

use crate::{finding::Finding, workspace::Workspace};

/// Providers of TLS other than ring: two compiled in panic at the first use of either.
const OTHER_TLS: [&str; 7] = [
    "aws-lc-rs",
    "aws-lc-sys",
    "boring",
    "boring-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

/// Crates of which a second version would be a second, incompatible set of the same types, or a second runtime.
const ONE_VERSION: [&str; 14] = [
    "bytes",
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "prost",
    "prost-types",
    "rustls",
    "tokio",
    "tonic",
    "tower",
    "tower-layer",
    "tower-service",
];

/// Forbidden packages and second versions, whichever feature brings them.
pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace
        .built()
        .filter(|package| OTHER_TLS.contains(&package.name.as_str()))
    {
        let message = format!("brings `{}`: ring is the one provider of TLS", package.name);
        findings.push(Finding::new("Cargo.lock", message));
    }
    for name in ONE_VERSION {
        let versions: Vec<_> = workspace
            .built()
            .filter(|package| package.name == name)
            .map(|package| package.version.as_str())
            .collect();
        if versions.len() > 1 {
            let message = format!("has `{name}` in several versions: {}", versions.join(", "));
            findings.push(Finding::new("Cargo.lock", message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            ..Package::default()
        }
    }

    fn findings(built: &[(&str, &str)]) -> Vec<String> {
        let mut workspace = Workspace::of_members([package("micro-rs", "0.1.0")]);
        for (name, version) in built {
            workspace = workspace.with_built(package(name, version), "micro-rs");
        }
        check(&workspace).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_second_provider_of_tls_is_found() {
        for name in OTHER_TLS {
            let findings = findings(&[("ring", "0.17.14"), (name, "1.0.0")]);
            assert_eq!(
                findings,
                [format!(
                    "Cargo.lock: brings `{name}`: ring is the one provider of TLS"
                )]
            );
        }
    }

    #[test]
    fn a_second_version_is_found_and_says_which() {
        assert_eq!(
            findings(&[
                ("prost", "0.13.5"),
                ("prost", "0.14.4"),
                ("syn", "1.0.0"),
                ("syn", "2.0.0")
            ]),
            ["Cargo.lock: has `prost` in several versions: 0.13.5, 0.14.4"]
        );
    }
}
