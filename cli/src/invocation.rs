//! How this command was started, so that a line to type next can be pasted into another terminal.

use std::{env, ffi::OsStr, path::Path};

/// How somebody at a terminal starts this command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    words: String,
}

impl Invocation {
    /// As this very process was started.
    pub(crate) fn of_this_process() -> Self {
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
    pub(crate) fn line<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> String {
        arguments.into_iter().fold(self.words.clone(), |line, argument| {
            format!("{line} {}", quote(argument))
        })
    }
}

/// A word as the shell reads it back.
pub(crate) fn quote(word: &str) -> String {
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
