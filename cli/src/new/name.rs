//! What a new service may be called: its folder, its package and its entry in the registry all have that name.

use std::{fmt, path::Path, str::FromStr};

use crate::failure::{Failure, Result};

/// The longest label of DNS, which is what a service's name becomes.
const LENGTH_MAX: usize = 63;

/// Words that are no name of a crate, strict and reserved alike.
const KEYWORDS: [&str; 51] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static",
    "struct", "super", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield",
];
/// Crates that come with Rust.
const OF_RUST: [&str; 5] = ["alloc", "core", "proc_macro", "std", "test"];
/// Crates that a new service depends on.
const OF_THE_SERVICE: [&str; 15] = [
    "async_trait",
    "micro",
    "micro_build",
    "micro_gateway",
    "micro_registry",
    "micro_rs",
    "serde",
    "serde_json",
    "tempfile",
    "tokio",
    "tokio_stream",
    "toml",
    "tonic",
    "tracing",
    "tracing_subscriber",
];
/// Folders that cargo keeps for itself beside the programs that it builds.
const OF_CARGO: [&str; 4] = ["build", "deps", "examples", "incremental"];
/// Names that are devices on Windows, besides `com1` to `lpt9`.
const OF_WINDOWS: [&str; 4] = ["aux", "con", "nul", "prn"];

/// The name of a new service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// The name of the folder that is to be made.
    pub(super) fn of_folder(path: &Path) -> Result<Self> {
        let Some(folder) = path.file_name() else {
            return Err(Failure::usage(format!(
                "`{}` names no new folder; give one, as in `micro new my-service`",
                path.display()
            )));
        };
        folder.to_string_lossy().parse()
    }

    /// The name as Rust and proto files have it.
    pub(super) fn crate_name(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl FromStr for Name {
    type Err = Failure;

    fn from_str(name: &str) -> Result<Self> {
        let refuse = |reason: &str| {
            Err(Failure::usage(format!(
                "a service cannot be called `{name}`: {reason}"
            )))
        };
        if !is_well_formed(name) {
            return refuse(
                "a name is small letters and digits of ASCII, with single `-` or `_` between them, begins with a \
                 letter, and has at most 63 characters",
            );
        }
        match reserved_by(&name.replace('-', "_")) {
            Some(owner) => refuse(&format!("{owner}; how about `{name}-service`")),
            None => Ok(Self(name.to_owned())),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_well_formed(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    name.len() <= LENGTH_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.split(['-', '_']).all(is_part)
}

fn reserved_by(crate_name: &str) -> Option<&'static str> {
    let is_device = |name: &str| {
        OF_WINDOWS.contains(&name)
            || ["com", "lpt"].iter().any(|device| {
                name.strip_prefix(device)
                    .is_some_and(|number| matches!(number.as_bytes(), [b'1'..=b'9']))
            })
    };
    match crate_name {
        name if KEYWORDS.contains(&name) => Some("it is a keyword of Rust"),
        name if OF_RUST.contains(&name) => Some("a crate of Rust's own is called so"),
        name if OF_THE_SERVICE.contains(&name) => Some("a crate that it depends on is called so"),
        name if OF_CARGO.contains(&name) => Some("cargo keeps a folder of that name for itself"),
        name if is_device(name) => Some("Windows has a device of that name"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> Result<String> {
        Name::of_folder(Path::new(path)).map(|name| name.to_string())
    }

    #[test]
    fn the_service_is_called_like_its_folder() {
        for (path, expected) in [
            ("greeter", "greeter"),
            ("services/my-shop", "my-shop"),
            ("./my_shop/", "my_shop"),
            ("/tmp/shop2go", "shop2go"),
            ("test-service", "test-service"),
            ("com", "com"),
        ] {
            assert_eq!(name(path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn a_name_that_cargo_rust_or_a_registry_would_not_take_is_refused() {
        for path in [
            "",
            ".",
            "..",
            "a/..",
            "/",
            "My-Shop",
            "2go",
            "-shop",
            "shop-",
            "my--shop",
            "my-_shop",
            "_",
            "my.shop",
            "my shop",
            "größe",
            "test",
            "match",
            "gen",
            "self",
            "std",
            "core",
            "proc-macro",
            "tokio",
            "micro",
            "tracing-subscriber",
            "deps",
            "con",
            "com1",
        ] {
            assert!(name(path).is_err(), "{path}");
        }
        assert!(name(&"a".repeat(63)).is_ok());
        assert!(name(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_refusal_says_what_is_allowed() {
        assert_eq!(
            name("match").unwrap_err().to_string(),
            "a service cannot be called `match`: it is a keyword of Rust; how about `match-service`"
        );
        assert!(name("My-Shop").unwrap_err().to_string().contains("small letters"));
    }

    #[test]
    fn the_crate_has_underscores() {
        assert_eq!(
            Name::of_folder(Path::new("my-shop")).unwrap().crate_name(),
            "my_shop"
        );
    }
}
