//! The line to type next: how this command was started, as it can be pasted into another terminal.

use std::{env, ffi::OsStr, path::Path};

use micro::CallOptions;
use prost_reflect::MethodDescriptor;

use crate::{
    dynamic::{Catalog, example, to_json},
    lookup::Lookup,
};

/// What to type in another terminal, now that all nodes are ready.
pub(super) async fn next_step(lookup: &Lookup, service: &str, nodes: usize) -> String {
    let arguments = match lookup.catalog(service, CallOptions::new(), None).await {
        Ok(catalog) => first_call(&catalog, service),
        // Without reflection there is no call to suggest, but still something to look at.
        Err(_) => None,
    };
    let arguments = arguments.unwrap_or_else(|| vec!["describe".to_owned(), service.to_owned()]);
    let arguments = arguments.iter().chain(lookup.typed());
    let line = Invocation::of_this_process().line(arguments.map(String::as_str));
    let ready = match nodes {
        1 => format!("1 node of `{service}` is ready"),
        _ => format!("{nodes} nodes of `{service}` are ready"),
    };
    format!("{ready}; Ctrl-C stops everything. Now type in another terminal:\n\n    {line}\n")
}

/// A call of the first unary method, or of the first method at all.
fn first_call(catalog: &Catalog, service: &str) -> Option<Vec<String>> {
    let methods: Vec<_> = catalog
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    let is_unary =
        |method: &&MethodDescriptor| !method.is_client_streaming() && !method.is_server_streaming();
    let method = methods.iter().find(is_unary).or(methods.first())?;
    let json = to_json(&example(&method.input())).ok()?;
    let name = short_name(catalog, method);
    Some(["call", service, &name, &json].map(str::to_owned).to_vec())
}

/// `Say.Hello` where that says enough, and else `greeter.Say/Hello`.
fn short_name(catalog: &Catalog, method: &MethodDescriptor) -> String {
    let service = method.parent_service();
    let short = format!("{}.{}", service.name(), method.name());
    if catalog.method(&short).is_ok_and(|found| &found == method) {
        return short;
    }
    format!("{}/{}", service.full_name(), method.name())
}

/// How somebody at a terminal starts this command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Invocation {
    words: String,
}

impl Invocation {
    /// As this very process was started.
    pub(super) fn of_this_process() -> Self {
        Self::of(
            env::args_os().next().as_deref(),
            env::var_os("CARGO").is_some(),
            env::var_os("CARGO_PKG_NAME").as_deref(),
        )
    }

    /// `cargo run` tells its program so by these variables; anything else was found on the path or typed as a path.
    fn of(program: Option<&OsStr>, by_cargo: bool, package: Option<&OsStr>) -> Self {
        let own_package = env!("CARGO_PKG_NAME");
        if by_cargo && package.is_some_and(|package| package == own_package) {
            return Self {
                words: format!("cargo run -p {own_package} --"),
            };
        }
        let program = program.map_or(Path::new("micro"), Path::new);
        Self {
            words: quote(&program.to_string_lossy()),
        }
    }

    /// The line that runs this command with `arguments`.
    pub(super) fn line<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        arguments.into_iter().fold(self.words.clone(), |line, argument| {
            format!("{line} {}", quote(argument))
        })
    }
}

/// A word as the shell reads it back.
fn quote(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(program: &str, package: Option<&str>) -> Invocation {
        Invocation::of(
            Some(OsStr::new(program)),
            package.is_some(),
            package.map(OsStr::new),
        )
    }

    #[test]
    fn under_cargo_run_the_line_goes_through_cargo_again() {
        let line = invocation("target/debug/micro", Some("micro-cli")).line(["call", "greeter", "Say.Hello"]);
        assert_eq!(line, "cargo run -p micro-cli -- call greeter Say.Hello");
    }

    #[test]
    fn installed_or_typed_as_a_path_it_stays_what_was_typed() {
        assert_eq!(invocation("micro", None).line(["services"]), "micro services");
        assert_eq!(
            invocation("./my tools/micro", None).line(["services"]),
            "'./my tools/micro' services"
        );
        // Started by some other package's test or build script.
        assert_eq!(
            invocation("micro", Some("shop")).line(["services"]),
            "micro services"
        );
    }

    #[test]
    fn json_is_quoted_for_the_shell() {
        let line = invocation("micro", None).line(["call", "greeter", "Say.Hello", r#"{"name":"O'Hara"}"#]);
        assert_eq!(line, r#"micro call greeter Say.Hello '{"name":"O'\''Hara"}'"#);
    }
}
