//! What the pages for users tell somebody to type is typed in a clean clone, page by page and in order, and answers as
//! they show.
//!
//! A block of `sh` is run, in a shell that keeps folder and variables for the page; what a following block of `text`
//! shows is compared with what was said, but for what differs each time (`said.rs`). Comments say what a reader does
//! without a command:
//!
//! - `<!-- terminal 1, until: TEXT -->` before a block: it stays in a terminal of its own, and has begun once it says that.
//! - `<!-- terminal 1 says: TEXT -->`: it has said that, or that is waited for.
//! - `<!-- Ctrl-C in terminal 1 -->`: that is pressed, and the terminal is free again.
//!
//! What cannot be run here says so to the reader, too, in the line before: `*Not run by the tests: REASON.*`

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod newcomer;
mod page;
mod said;
mod terminal;

use std::{collections::HashMap, env, fs, path::Path};

use crate::{
    newcomer::Newcomer,
    page::{Page, Step},
    said::{is_said, same},
    terminal::{Shell, Terminal},
};

/// The pages that are read from top to bottom, in the order in which somebody new reads them.
const PAGES: [&str; 10] = [
    "README.md",
    "docs/gateway.md",
    "docs/dashboard.md",
    "docs/tutorial.md",
    "docs/howto/etcd.md",
    "docs/howto/systemd.md",
    "docs/howto/kubernetes.md",
    "docs/howto/secure.md",
    "docs/howto/observe.md",
    "docs/howto/migrate.md",
];
/// Pages that begin with nothing but a clone; the others begin with the command on the path, as these say how to get it.
const FROM_NOTHING: [&str; 3] = ["README.md", "docs/tutorial.md", "docs/howto/etcd.md"];
/// The one page that tells its reader to have a `protoc`.
const WITH_PROTOC: &str = "docs/howto/etcd.md";
/// Pages whose commands others look after: page, who.
const ELSEWHERE: [(&str, &str); 1] = [("docs/registries.md", "examples/file-registry/tests/documented.rs")];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page(folder: &Path, path: &str) -> Page {
    let text = fs::read_to_string(folder.join(path)).unwrap();
    Page::read(&text).unwrap_or_else(|wrong| panic!("{path}: {wrong}"))
}

#[test]
fn every_command_is_run_or_says_why_it_is_not() {
    let mut folders = vec![checkout().join("docs")];
    let mut pages: Vec<String> = vec!["README.md".to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("md") => pages.push(
                    path.strip_prefix(checkout())
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                ),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    for path in &pages {
        let commands = page(checkout(), path)
            .steps
            .into_iter()
            .any(|step| matches!(step, Step::Run { .. }));
        let is_run = PAGES.contains(&path.as_str()) || ELSEWHERE.iter().any(|(page, _)| page == path);
        assert!(
            !commands || is_run,
            "{path} has commands, and stands in no list of this test"
        );
    }
    for (page, keeper) in ELSEWHERE {
        assert!(
            checkout().join(page).is_file() && checkout().join(keeper).is_file(),
            "{page}"
        );
    }
}

#[test]
fn the_commands_of_the_pages_answer_as_they_show() {
    if !cfg!(target_os = "linux") {
        return;
    }
    // Beside this very test, where cargo builds.
    let executable = env::current_exe().unwrap();
    let newcomer = Newcomer::arrive(checkout(), &executable.ancestors().nth(3).unwrap().join("pages"));
    for path in PAGES {
        perform(path, &newcomer);
    }
}

fn perform(path: &str, newcomer: &Newcomer) {
    let shell = Shell::new(newcomer, !FROM_NOTHING.contains(&path), path == WITH_PROTOC);
    let mut terminals: HashMap<String, Terminal> = HashMap::new();
    for step in page(&newcomer.clone, path).steps {
        match step {
            Step::Run {
                line,
                script,
                shown,
                terminal,
            } => {
                let place = format!("{path}:{line}");
                eprintln!("{place}: {}", script.trim());
                match terminal {
                    None => {
                        let said = shell
                            .run(&script)
                            .unwrap_or_else(|said| panic!("{place}: {said}"));
                        if let Some(shown) = shown {
                            same(&shown, &said).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                        }
                    }
                    Some((name, until)) => {
                        let mut terminal = shell.start(&script);
                        terminal
                            .until(&until)
                            .unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                        if let Some(shown) = shown {
                            is_said(&shown, &terminal.all())
                                .unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                        }
                        let before = terminals.insert(name, terminal);
                        assert!(before.is_none(), "{place}: the terminal is in use");
                    }
                }
            }
            Step::Wait {
                line,
                terminal,
                text,
                shown,
            } => {
                let place = format!("{path}:{line}");
                let terminal = terminals.get_mut(&terminal).expect("a terminal that is in use");
                terminal
                    .until(&text)
                    .unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                if let Some(shown) = shown {
                    is_said(&shown, &terminal.all()).unwrap_or_else(|wrong| panic!("{place}: {wrong}"));
                }
            }
            Step::Interrupt {
                line,
                terminal,
                shown,
            } => {
                let terminal = terminals.remove(&terminal).expect("a terminal that is in use");
                let said = terminal
                    .interrupt()
                    .unwrap_or_else(|wrong| panic!("{path}:{line}: {wrong}"));
                if let Some(shown) = shown {
                    is_said(&shown, &said).unwrap_or_else(|wrong| panic!("{path}:{line}: {wrong}"));
                }
            }
            Step::NotRun => {}
        }
    }
}
