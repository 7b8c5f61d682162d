//! The files of a new service: those of a folder in `templates/`, with the names filled in.
//!
//! `cargo generate` reads the same files. What its engine and ours have in common is what they may use: variables,
//! `if`, and the ending `.liquid`, which hides a `Cargo.toml` from cargo until it is a real one.

use std::path::PathBuf;

use include_dir::{Dir, include_dir};
use minijinja::{Environment, UndefinedBehavior, context, syntax::SyntaxConfig};

use super::{checkout::Checkout, name::Name};
use crate::{
    arguments::{NewRegistry, Template},
    failure::{Failure, Result},
};

const SERVICE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../templates/service");
const CLIENT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../templates/client");
const GATEWAY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../templates/gateway");
const REGISTRY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../templates/registry");
/// What only `cargo generate` reads.
const NOT_OURS: [&str; 2] = ["cargo-generate.toml", "names.rhai"];
const HIDING: &str = ".liquid";

/// A file of the new service.
#[derive(Debug)]
pub(super) struct File {
    /// Where it belongs, from the service's folder.
    pub(super) path: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// What a template is filled in with.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pub(super) name: &'a Name,
    /// The service that it calls, if it is one that calls another.
    pub(super) callee: &'a Name,
    pub(super) checkout: &'a Checkout,
    pub(super) registry: NewRegistry,
}

/// All files of a new service.
pub(super) fn render(template: Template, values: &Values<'_>) -> Result<Vec<File>> {
    let engine = engine();
    let sources_of = match template {
        Template::Service => &SERVICE,
        Template::Client => &CLIENT,
        Template::Gateway => &GATEWAY,
        Template::Registry => &REGISTRY,
    };
    let values = context! {
        service_name => values.name.to_string(),
        crate_name => values.name.crate_name(),
        callee_name => values.callee.to_string(),
        callee_crate_name => values.callee.crate_name(),
        micro_checkout => values.checkout.to_string(),
        registry => values.registry.as_str(),
    };
    let fill = |text: &str| {
        engine
            .render_str(text, &values)
            .map_err(|error| Failure::because("fill in the template of a service", &error))
    };
    let mut files = Vec::new();
    for (path, text) in sources(sources_of)? {
        if NOT_OURS.contains(&path) {
            continue;
        }
        let path = fill(path)?;
        files.push(File {
            path: path.strip_suffix(HIDING).unwrap_or(&path).into(),
            text: fill(text)?,
        });
    }
    Ok(files)
}

/// Nothing but variables and `if`; nothing is escaped, as these files are no HTML.
fn engine() -> Environment<'static> {
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    let mut engine = Environment::empty();
    engine.set_syntax(syntax.expect("the usual delimiters are valid"));
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine
}

/// The paths and texts of a folder and those within it.
fn sources<'a>(folder: &'a Dir<'a>) -> Result<Vec<(&'a str, &'a str)>> {
    let mut found = Vec::new();
    for file in folder.files() {
        let source = file.path().to_str().zip(file.contents_utf8());
        found.push(
            source.ok_or_else(|| {
                Failure::new(format!("the template `{}` is no text", file.path().display()))
            })?,
        );
    }
    for inner in folder.dirs() {
        found.extend(sources(inner)?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each template has them for itself, as `cargo generate` reads one folder alone.
    #[test]
    fn what_templates_have_in_common_is_the_same_in_each() {
        for file in [
            ".dockerignore",
            ".github/workflows/ci.yml",
            ".gitignore",
            "Dockerfile",
            "names.rhai",
            "micro.toml",
        ] {
            let text = |template: &'static Dir<'static>| template.get_file(file).unwrap().contents_utf8();
            if file != "names.rhai" {
                assert_eq!(text(&CLIENT), text(&SERVICE), "{file}");
            }
            if file != "micro.toml" {
                assert_eq!(text(&GATEWAY), text(&CLIENT), "{file}");
            }
        }
    }

    /// A full disk under the log ends nobody, and what reads it gets no codes of a terminal's.
    #[test]
    fn whatever_a_template_makes_logs_in_the_same_way() {
        let mains = [&SERVICE, &CLIENT, &GATEWAY, &REGISTRY].map(|template| template.get_file("src/main.rs"));
        let mains: Vec<_> = mains.into_iter().flatten().collect();
        assert_eq!(mains.len(), 3, "a registry has none");
        for main in mains {
            let main = main.contents_utf8().unwrap();
            let (_, rest) = main.split_once("EnvFilter::new(\"info\"));\n").unwrap();
            let (logging, _) = rest.split_once(".init();\n").unwrap();
            for set in [
                "let is_plain = env::var_os(\"NO_COLOR\").is_some_and(|value| !value.is_empty());\n",
                ".with_ansi(io::stdout().is_terminal() && !is_plain)\n",
                ".log_internal_errors(false)\n",
            ] {
                assert!(logging.contains(set), "{set} in {main}");
            }
        }
    }

    /// The image of what a template makes is built from the checkout, too: `COPY --from=micro .`.
    #[test]
    fn what_was_built_and_what_was_before_stay_out_of_images() {
        const IGNORED: &str = include_str!("../../../.dockerignore");
        for folder in ["/target", "/.git"] {
            assert!(IGNORED.lines().any(|line| line == folder), "{folder}");
        }
        let dockerfile = SERVICE.get_file("Dockerfile").unwrap().contents_utf8().unwrap();
        assert!(dockerfile.contains("COPY --from=micro . "), "{dockerfile}");
    }

    /// The registry of a template is the example's, which all that is said of backends is true of.
    #[test]
    fn a_registry_is_made_as_the_example_is() {
        const LIBRARY: &str = include_str!("../../../examples/file-registry/src/lib.rs");
        const FOLDER: &str = include_str!("../../../examples/file-registry/src/folder.rs");
        const RECORD: &str = include_str!("../../../examples/file-registry/src/record.rs");
        let text = |file: &str| REGISTRY.get_file(file).unwrap().contents_utf8().unwrap();
        assert_eq!(text("src/folder.rs"), FOLDER);
        assert_eq!(text("src/record.rs"), RECORD);
        let filled = text("src/lib.rs")
            .replace("{{service_name}}", "file")
            .replace("{{crate_name}}", "file_registry");
        let (_, filled) = filled.split_once('\n').unwrap();
        let (_, library) = LIBRARY.split_once('\n').unwrap();
        assert!(library.starts_with(filled.trim_end()), "{filled}");
    }
}
