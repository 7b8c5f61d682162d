//! What the shell completes: the command's own words, and the names of services and methods that the registry knows.

use std::{
    collections::HashSet,
    env,
    ffi::OsStr,
    io::{self, Write},
    iter,
    time::Duration,
};

use clap::CommandFactory;
use clap_complete::{
    CompleteEnv,
    engine::CompletionCandidate,
    env::{Bash, EnvCompleter, Fish, Zsh},
};
use micro::CallOptions;
use tokio::time::timeout;

use crate::{
    arguments::{Arguments, RegistryArguments, Shell},
    failure::{Failure, Result},
    lookup::Lookup,
};

/// The variable by which a shell's script asks for words.
const ASKED: &str = "MICRO_COMPLETE";
/// How long somebody who pressed the key waits for names; without an answer there are none.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers the shell and ends the process, if it is the shell that asks.
pub(crate) fn answer() {
    CompleteEnv::with_factory(Arguments::command)
        .var(ASKED)
        .complete();
}

/// Writes the script that makes `shell` ask.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let program = env::current_exe().map_err(|error| Failure::because("find this program", &error))?;
    let mut script = Vec::new();
    let written = completer
        .write_registration(ASKED, "micro", "micro", &program.to_string_lossy(), &mut script)
        .and_then(|()| io::stdout().lock().write_all(&script));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::unread(),
        _ => Failure::because("write the script", &error),
    })
}

/// The services that begin so.
pub(crate) fn services(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = words();
    let found = find(async { open(&words)?.services().await });
    beginning(current, found)
}

/// The methods that begin so, of the service that was typed before.
pub(crate) fn methods(current: &OsStr) -> Vec<CompletionCandidate> {
    let words = words();
    let Some(service) = positions(&words).nth(1) else {
        return Vec::new();
    };
    let found = find(async {
        let lookup = open(&words)?;
        let catalog = lookup.catalog(service, CallOptions::new(), Some(TIMEOUT)).await?;
        let methods = catalog.services().flat_map(|service| {
            let name = service.name().to_owned();
            let methods: Vec<_> = service.methods().collect();
            methods
                .into_iter()
                .map(move |method| format!("{name}.{}", method.name()))
        });
        Ok(methods.collect())
    });
    beginning(current, found)
}

/// Runs a search, within its time; what goes wrong is no concern of somebody who is still typing.
fn find(search: impl Future<Output = Result<Vec<String>>>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.map(|runtime| {
        let found = runtime.block_on(async { timeout(TIMEOUT, search).await });
        runtime.shutdown_background();
        found
    });
    match found {
        Ok(Ok(Ok(names))) => names,
        _ => Vec::new(),
    }
}

fn beginning(current: &OsStr, names: Vec<String>) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fitting = names.into_iter().filter(|name| name.starts_with(&*current));
    fitting.map(CompletionCandidate::new).collect()
}

fn open(words: &[String]) -> Result<Lookup> {
    Lookup::open(&RegistryArguments {
        registry: value(words, "--registry"),
        registry_address: value(words, "--registry-address"),
    })
}

/// The words on the line that is being typed, without the program's: the shell's script gives them after `--`.
fn words() -> Vec<String> {
    let words = env::args_os().map(|word| word.to_string_lossy().into_owned());
    words.skip_while(|word| word != "--").skip(2).collect()
}

/// The value of an option among `words`.
fn value(words: &[String], option: &str) -> Option<String> {
    let behind = |index: usize| words.get(index + 1).cloned();
    words.iter().enumerate().find_map(|(index, word)| {
        let rest = word.strip_prefix(option)?;
        match rest.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None if rest.is_empty() => behind(index),
            None => None,
        }
    })
}

/// The words that are no options: the command, then its arguments.
fn positions(words: &[String]) -> impl Iterator<Item = &str> {
    let with_value = options_with_value();
    let mut is_value = false;
    words.iter().map(String::as_str).filter(move |word| {
        let is_position = !is_value && !word.starts_with('-');
        is_value = with_value.contains(*word);
        is_position
    })
}

/// The options of all commands before which a value of theirs follows as a word of its own.
fn options_with_value() -> HashSet<String> {
    let command = Arguments::command();
    let all = iter::once(&command).chain(command.get_subcommands());
    all.flat_map(clap::Command::get_arguments)
        .filter(|option| option.get_action().takes_values())
        .flat_map(|option| {
            let long = option.get_long().map(|long| format!("--{long}"));
            let short = option.get_short().map(|short| format!("-{short}"));
            long.into_iter().chain(short)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_service_is_found_among_options() {
        for line in [
            "call greeter",
            "--registry consul call greeter S",
            "call --timeout 2s -H a:b greeter",
            "call --timeout=2s greeter Say.Hello {}",
        ] {
            assert_eq!(positions(&words(line)).nth(1), Some("greeter"), "{line}");
        }
        assert_eq!(positions(&words("--registry call")).nth(1), None);
    }

    #[test]
    fn the_value_of_an_option_follows_it_or_its_equals_sign() {
        for line in ["--registry consul call", "call greeter --registry=consul"] {
            assert_eq!(
                value(&words(line), "--registry").as_deref(),
                Some("consul"),
                "{line}"
            );
        }
        for line in ["call", "call --registry", "call --registry-address a:1"] {
            assert_eq!(value(&words(line), "--registry"), None, "{line}");
        }
    }
}
