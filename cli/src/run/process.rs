//! One process of a node: started so that it cannot outlive `micro run`.

use std::{
    ffi::OsString,
    io,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio, id as own_pid},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::{Pid, getppid},
};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::arguments::NodeArguments;
use crate::failure::{Failure, Result};

/// The hidden subcommand that turns a fresh process into a node, see [`become_node`].
pub(crate) const BECOME_NODE: &str = "become-node";

/// What is the service's own, and would make another service of the node.
const NAME: &str = "MICRO_SERVER_NAME";
/// What says where a process is found.
pub(super) const ADVERTISE: &str = "MICRO_SERVER_ADVERTISE";
/// Where every process listens and says that it does, whatever is exported or stands in the file, unless it is told otherwise: at a
/// free port each.
const ADDRESS: [(&str, &str); 2] = [("MICRO_SERVER_ADDRESS", "127.0.0.1:0"), (ADVERTISE, "127.0.0.1")];

/// How nodes are started: all of them alike but for their id.
#[derive(Debug)]
pub(super) struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    /// The folder of the package: its `micro.toml` is read there.
    folder: PathBuf,
    /// What is set on top of what this process was given.
    environment: Vec<(&'static str, OsString)>,
}

#[cfg(test)]
impl Launch {
    /// Starts a shell script instead of a node.
    pub(super) fn of_script(script: &str) -> Self {
        Self {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            folder: std::env::temp_dir(),
            environment: Vec::new(),
        }
    }
}

/// A running node. Dropping it kills its whole process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
}

impl Launch {
    /// Starts `executable` in `folder`, with `environment` on top of what this process was given.
    pub(super) fn of_node(
        executable: &Path,
        folder: &Path,
        environment: Vec<(&'static str, OsString)>,
    ) -> io::Result<Self> {
        Self::of(executable.to_owned(), Vec::new(), folder, environment)
    }

    /// Starts this very command with other arguments.
    pub(super) fn of_this_command(
        arguments: Vec<OsString>,
        folder: &Path,
        environment: Vec<(&'static str, OsString)>,
    ) -> io::Result<Self> {
        Self::of(own_executable()?, arguments, folder, environment)
    }

    fn of(
        executable: PathBuf,
        of_its_own: Vec<OsString>,
        folder: &Path,
        environment: Vec<(&'static str, OsString)>,
    ) -> io::Result<Self> {
        let mut arguments: Vec<OsString> = vec![
            BECOME_NODE.into(),
            own_pid().to_string().into(),
            executable.into(),
        ];
        arguments.extend(of_its_own);
        Ok(Self {
            program: own_executable()?,
            arguments,
            folder: folder.to_owned(),
            environment,
        })
    }

    /// Starts a node under `id` on a free port of the loopback interface.
    pub(super) fn start(&self, id: &str) -> io::Result<Process> {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .current_dir(&self.folder)
            .env("CARGO_MANIFEST_DIR", &self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own: Ctrl-C in the terminal reaches `micro run` alone, which then stops nodes in order.
            .process_group(0);
        command.env_remove(NAME);
        command.envs(ADDRESS);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.env("MICRO_SERVER_ID", id);
        Ok(Process {
            child: command.spawn()?,
        })
    }
}

impl Process {
    /// What the node writes, to be taken once.
    pub(super) fn take_output(&mut self) -> (ChildStdout, ChildStderr) {
        let output = self
            .child
            .stdout
            .take()
            .expect("standard output is piped and taken once");
        let errors = self
            .child
            .stderr
            .take()
            .expect("standard error is piped and taken once");
        (output, errors)
    }

    /// Waits for the end of the node.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the node to drain and end.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.pid() {
            // It can only have ended already, and then `wait` says so.
            let _ = kill(pid, Signal::SIGTERM);
        }
    }

    /// Ends the node and whatever it started, at once.
    pub(super) fn kill(&self) {
        if let Some(pid) = self.pid() {
            // As above.
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }

    /// The process, which leads the group of the same number; `None` once it was waited for and the number is free.
    fn pid(&self) -> Option<Pid> {
        let pid = self.child.id()?;
        i32::try_from(pid).ok().map(Pid::from_raw)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// How a process ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("killed by {name}"),
            Err(_) => format!("killed by signal {signal}"),
        },
        (None, None) => status.to_string(),
    }
}

/// The file of this very process, also after it was built anew.
fn own_executable() -> io::Result<PathBuf> {
    let running = Path::new("/proc/self/exe");
    if running.exists() {
        // Opened by the new process, which still is this one then.
        return Ok(running.to_owned());
    }
    std::env::current_exe()
}

/// Turns this process into the node, which the kernel kills as soon as `parent` is gone, even if that
/// was killed itself.
///
/// The kernel's promise must be asked for by the child and survives `exec`; asking between fork and exec of the parent
/// would need unsafe code.
pub(crate) fn become_node(node: &NodeArguments) -> Result<()> {
    let NodeArguments {
        parent,
        executable,
        arguments,
    } = node;
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(|error| Failure::because("ask to end with `micro run`", &error))?;
    // The parent may have gone before that.
    if u32::try_from(getppid().as_raw()) != Ok(*parent) {
        return Err(Failure::new("`micro run` is gone"));
    }
    let error = std::process::Command::new(executable).args(arguments).exec();
    Err(Failure::because(
        format!("start `{}`", executable.display()),
        &error,
    ))
}
