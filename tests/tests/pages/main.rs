//! What the pages for users tell somebody to type is typed, page by page and in order, and answers as they show.
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

mod page;
mod said;
mod terminal;

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    page::{Page, Step},
    said::{is_said, same},
    terminal::{Shell, Terminal},
};

/// The pages that are read from top to bottom, in the order in which somebody new reads them.
const PAGES: [&str; 9] = [
    "README.md",
    "docs/gateway.md",
    "docs/dashboard.md",
    "docs/tutorial.md",
    "docs/howto/systemd.md",
    "docs/howto/kubernetes.md",
    "docs/howto/secure.md",
    "docs/howto/observe.md",
    "docs/howto/migrate.md",
];
/// Pages whose commands others look after: page, who.
const ELSEWHERE: [(&str, &str); 1] = [("docs/registries.md", "examples/file-registry/tests/documented.rs")];

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn page(path: &str) -> Page {
    let text = fs::read_to_string(checkout().join(path)).unwrap();
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
        let commands = page(path)
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
    let home = tempfile::tempdir().unwrap();
    prepare(home.path());
    for path in PAGES {
        perform(path, home.path());
    }
}

/// The settings of this workspace's profiles, so that what was built for it need not be built again.
const CARGO_CONFIG: &str = r#"
[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
debug = false
"#;

/// The programs of this checkout, built as somebody new would build them; and versions that are there without a network,
/// for the workspace of the tutorial.
fn prepare(home: &Path) {
    for folder in [".cargo", "shop"] {
        fs::create_dir(home.join(folder)).unwrap();
    }
    fs::write(home.join(".cargo/config.toml"), CARGO_CONFIG).unwrap();
    fs::copy(checkout().join("Cargo.lock"), home.join("shop/Cargo.lock")).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--offline", "--package", "micro-cli"])
        .current_dir(checkout())
        .env("CARGO_TARGET_DIR", target())
        .status();
    assert!(built.unwrap().success());
}

/// The target folder of this very test.
fn target() -> PathBuf {
    let executable = env::current_exe().unwrap();
    executable.ancestors().nth(3).unwrap().to_owned()
}

fn perform(path: &str, home: &Path) {
    let shell = Shell::new(checkout(), home, &target());
    let mut terminals: HashMap<String, Terminal> = HashMap::new();
    for step in page(path).steps {
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
