//! Makes the picture of a terminal that the README shows, of what the commands really say: `cargo xtask pictures`.

#![allow(clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{
    env, fs,
    io::{BufRead, BufReader, pipe},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use micro_test_dashboard::{Terminal, picture, root};
use micro_test_servers::binary;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// How large the picture may be.
const SIZE_MAX: usize = 40 * 1024;
/// Where the gateway is unless another program is there already.
const GATEWAY: &str = "127.0.0.1:8080";

/// What is typed in the first terminal, and what its last line has.
const RUN: (&str, &str) = ("micro run examples/greeter --nodes 2", "    curl ");
/// What is typed in the second one.
const ASKED: [&str; 4] = [
    r#"micro call greeter Say.Hello '{"name":"Ada"}'"#,
    r#"curl -sS -d '{"name":"Ada"}' localhost:8080/greeter/say/hello"#,
    "micro health greeter",
    r#"micro bench greeter Say.Hello '{"name":"Ada"}' --rate 200 --duration 5s"#,
];

fn main() {
    let free = TcpListener::bind(GATEWAY).unwrap_or_else(|error| panic!("{GATEWAY} is not free: {error}"));
    drop(free);
    let folder = tempfile::tempdir().unwrap();
    let shell = Shell {
        folder: folder.path(),
    };
    std::os::unix::fs::symlink(binary("micro"), folder.path().join("micro")).unwrap();
    // What is compiled is no part of the picture.
    assert!(
        shell
            .command("cargo build --quiet -p greeter")
            .status()
            .unwrap()
            .success()
    );

    let (mut running, first) = shell.start(RUN.0, RUN.1);
    let mut second = String::new();
    for asked in ASKED {
        second += &format!("{}{}", typed(asked), shell.said(asked));
    }
    kill(Pid::from_raw(running.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(running.wait().unwrap().success());
    let said = picture(&[
        Terminal {
            title: "a terminal",
            said: typed(RUN.0) + &first,
        },
        Terminal {
            title: "another",
            said: second,
        },
    ]);
    assert!(said.len() <= SIZE_MAX, "{} bytes are too many", said.len());
    fs::write(root().join("docs/images/terminal.svg"), said).unwrap();
}

fn typed(line: &str) -> String {
    format!("\u{1b}[1m$ {line}\u{1b}[0m\n")
}

/// A shell in the root of the repository, with colours, and with the command on its path.
struct Shell<'a> {
    folder: &'a Path,
}

impl Shell<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new("sh");
        let ours = env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("MICRO_")) {
            command.env_remove(name);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [self.folder.to_owned()]
            .into_iter()
            .chain(env::split_paths(&path));
        command
            .args(["-c", &format!("exec {line}")])
            .env("PATH", env::join_paths(folders).unwrap())
            .env("CLICOLOR_FORCE", "1")
            .env("CARGO_TERM_COLOR", "always")
            .env_remove("NO_COLOR")
            .env_remove("CARGO_PKG_NAME")
            .current_dir(root())
            .stdin(Stdio::null());
        command
    }

    /// All that a command says.
    fn said(&self, line: &str) -> String {
        let (reader, writer) = pipe().unwrap();
        let mut command = self.command(line);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let mut child = command.spawn().unwrap();
        // The reader ends with the last writer.
        drop(command);
        let lines = BufReader::new(reader).lines().map(|line| line.unwrap() + "\n");
        let said = lines.collect();
        assert!(child.wait().unwrap().success(), "{line}: {said}");
        said
    }

    /// A command that stays, and what it says up to a line with `last` in it.
    fn start(&self, line: &str, last: &str) -> (Child, String) {
        let (reader, writer) = pipe().unwrap();
        let mut command = self.command(line);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        // The kernel ends its nodes with it, and this program's end is one for it, too.
        let child = command.process_group(0).spawn().unwrap();
        drop(command);
        let mut said = String::new();
        let mut lines = BufReader::new(reader).lines();
        loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("it ended: {said}"))
                .unwrap();
            said += &format!("{line}\n");
            if line.contains(last) {
                break;
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        (child, said)
    }
}
