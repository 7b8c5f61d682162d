//! The terminals of somebody who follows a page: one for commands that end, and one for each that stays.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tempfile::TempDir;

use crate::newcomer::Newcomer;

/// Longer than anything here takes on a busy machine, builds from nothing included.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// How long the rest of what is said at one go may take.
const REST: Duration = Duration::from_millis(500);
/// Variables of whoever runs the tests that a page is to be read without.
const FOREIGN: [&str; 6] = [
    "MICRO_",
    "CONSUL_",
    "ETCD",
    "OTEL_",
    "CARGO_PKG_",
    "CARGO_MANIFEST_",
];
/// What is so in every terminal.
const SETTINGS: [(&str, &str); 2] = [("CARGO_NET_OFFLINE", "true"), ("NO_COLOR", "1")];

/// A compiler that is not there: whoever asks for it fails.
const NO_PROTOC: &str = "/nonexistent/protoc";
/// The variables that name the servers of registries, which a reader has on the path.
const SERVERS: [&str; 2] = ["MICRO_TEST_CONSUL", "MICRO_TEST_ETCD"];

/// A shell that keeps its folder and variables from one command to the next.
pub(crate) struct Shell {
    /// Where it writes them down.
    state: TempDir,
    home: PathBuf,
    target: PathBuf,
    path: std::ffi::OsString,
    has_protoc: bool,
}

/// A command that stays.
pub(crate) struct Terminal {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Shell {
    /// Opens one in the clone; it may have the command on the path, and a `protoc`.
    pub(crate) fn new(newcomer: &Newcomer, has_command: bool, has_protoc: bool) -> Self {
        let state = tempfile::tempdir().unwrap();
        let cd = format!("cd '{}'\n", newcomer.clone.display());
        fs::write(state.path().join("state"), cd).unwrap();
        let mut folders = Vec::new();
        if has_command {
            folders.push(newcomer.clone.join("target/debug"));
        }
        let servers = SERVERS.into_iter().filter_map(env::var_os).map(PathBuf::from);
        folders.extend(servers.filter_map(|server| server.parent().map(Path::to_owned)));
        folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
        Self {
            state,
            home: newcomer.home.clone(),
            target: newcomer.target.clone(),
            path: env::join_paths(folders).unwrap(),
            has_protoc,
        }
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).stdin(Stdio::null());
        let foreign = env::vars_os().map(|(name, _)| name);
        for name in foreign.filter(|name| {
            FOREIGN
                .iter()
                .any(|begin| name.to_string_lossy().starts_with(begin))
        }) {
            command.env_remove(name);
        }
        let home_of = |variable: &str, folder: &str| {
            env::var_os(variable).map_or_else(
                || Path::new(&env::var_os("HOME").unwrap_or_default()).join(folder),
                PathBuf::from,
            )
        };
        let port = 20_000 + std::process::id() % 10_000;
        command
            .env("CARGO_HOME", home_of("CARGO_HOME", ".cargo"))
            .env("RUSTUP_HOME", home_of("RUSTUP_HOME", ".rustup"))
            .env("HOME", &self.home)
            .env("PATH", &self.path)
            .env("CARGO_TARGET_DIR", &self.target)
            // Apart from whatever else of micro runs on this machine, whose registry is mDNS.
            .env("MICRO_REGISTRY_ADDRESS", format!("127.0.0.1:{port}"))
            .envs(SETTINGS);
        if !self.has_protoc {
            command.env("PROTOC", NO_PROTOC);
        }
        command
    }

    /// What a command says on standard output; everything, if it fails.
    pub(crate) fn run(&self, script: &str) -> Result<String, String> {
        let state = self.state.path().join("state");
        let state = state.display();
        let kept =
            format!("set -e\n. '{state}'\n{script}\n{{ export -p; echo \"cd '$PWD'\"; }} > '{state}'\n");
        let output = self.command(&kept).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(format!(
            "{}\n{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        ))
    }

    /// Starts a command that stays.
    pub(crate) fn start(&self, script: &str) -> Terminal {
        let state = self.state.path().join("state");
        let (reader, writer) = std::io::pipe().unwrap();
        let mut command = self.command(&format!(". '{}'\n{script}", state.display()));
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.process_group(0).spawn().unwrap();
        // What is left of the writers goes with it; the reader ends with the processes that write.
        drop(command);
        let (write, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(reader)
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| write.send(line))
        });
        Terminal {
            child,
            lines,
            said: String::new(),
        }
    }
}

impl Terminal {
    /// Waits until it has said this, at any time.
    pub(crate) fn until(&mut self, text: &str) -> Result<(), String> {
        if self.said.contains(text) {
            return Ok(());
        }
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.said += &format!("{line}\n");
            if line.contains(text) {
                // What belongs to it may be a few lines long.
                let end = Instant::now() + REST;
                while let Ok(line) = self
                    .lines
                    .recv_timeout(end.saturating_duration_since(Instant::now()))
                {
                    self.said += &format!("{line}\n");
                }
                return Ok(());
            }
        }
        Err(format!("it does not say {text:?}, but\n{}", self.said))
    }

    /// All that it has said.
    pub(crate) fn all(&self) -> String {
        self.said.clone()
    }

    /// Presses Ctrl-C, and answers with all that was said once it has ended.
    pub(crate) fn interrupt(mut self) -> Result<String, String> {
        self.signal(Signal::SIGINT);
        let end = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .lines
            .recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.said += &format!("{line}\n");
        }
        self.child.wait().map_err(|error| error.to_string())?;
        Ok(std::mem::take(&mut self.said))
    }

    fn signal(&self, signal: Signal) {
        // It leads a group of the same number, as what is typed into a terminal does. It may have ended already.
        let _ = killpg(Pid::from_raw(self.child.id().try_into().unwrap()), signal);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
