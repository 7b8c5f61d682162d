//! The two programs, each a process of its own, that have nothing in common but a folder.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// A clock that is announced in a folder; killed, if it was not stopped.
struct Clock {
    process: Child,
    /// Held open: whoever logs into a closed pipe complains.
    log: Lines<BufReader<ChildStdout>>,
}

impl Clock {
    /// Starts one, and waits until it says that it is announced.
    fn start(folder: &Path) -> Self {
        let mut program = command(env!("CARGO_BIN_EXE_clock"), folder);
        let mut process = program.stdout(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut clock = Self { process, log };
        let announced = clock
            .log
            .by_ref()
            .map(Result::unwrap)
            .any(|line| line.contains("registered"));
        assert!(announced, "it ended before it was announced");
        clock
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        // Fails for one that has ended, which is as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A command that has none of this process's own settings.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MICRO_") || name == "RUST_LOG") {
        command.env_remove(name);
    }
    command
        .env("MICRO_REGISTRY", "file")
        .env("MICRO_REGISTRY_ADDRESS", folder);
    command
}

fn ask(folder: &Path) -> (bool, String) {
    let output = command(env!("CARGO_BIN_EXE_clock-client"), folder)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_client_finds_the_service_in_the_folder_for_as_long_as_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut clock = Clock::start(folder.path());
    let (found, said) = ask(folder.path());
    assert!(found && said.contains("s since 1970"), "{said}");

    let id = i32::try_from(clock.process.id()).unwrap();
    kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
    assert!(clock.process.wait().unwrap().success());
    assert_eq!(
        fs::read_dir(folder.path().join("clock")).unwrap().count(),
        0,
        "it left its record"
    );
    let (found, said) = ask(folder.path());
    assert!(!found && said.contains("clock"), "{said}");
}

#[test]
fn without_a_folder_the_programs_say_what_to_set() {
    for program in [env!("CARGO_BIN_EXE_clock"), env!("CARGO_BIN_EXE_clock-client")] {
        let output = command(program, Path::new("")).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            said.contains("MICRO_REGISTRY_ADDRESS=/mnt/shared/nodes"),
            "{said}"
        );
    }
}
