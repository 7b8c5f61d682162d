//! A `micro run` that goes on while a test looks at it.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    process::{Child, Command},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Longer than anything here takes on a busy machine, a build of the framework included.
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(20);

/// The kernel ends its nodes with it, and dropping it ends it.
pub(crate) struct Running {
    child: Child,
    output: Receiver<String>,
    errors: Receiver<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let output = lines(child.stdout.take().unwrap());
        let errors = lines(child.stderr.take().unwrap());
        Self {
            child,
            output,
            errors,
        }
    }

    /// All lines of standard output up to one that has `part` in it, this one included.
    pub(crate) fn output_until(&self, part: &str) -> Vec<String> {
        until(&self.output, part)
    }

    /// All lines of standard error up to one that has `part` in it, this one included.
    pub(crate) fn errors_until(&self, part: &str) -> Vec<String> {
        until(&self.errors, part)
    }

    /// As a reader of standard output does that has seen enough.
    pub(crate) fn close_output(&mut self) {
        // Ends the thread that reads, and with it the pipe.
        self.output = mpsc::channel().1;
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(source: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let source = BufReader::new(source);
    thread::spawn(move || {
        source
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
    });
    lines
}

fn until(source: &Receiver<String>, part: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    while lines.last().is_none_or(|line| !line.contains(part)) {
        let next = source.recv_timeout(PATIENCE);
        lines.push(
            next.unwrap_or_else(|error| panic!("no line with {part:?}: {error}; there were {lines:#?}")),
        );
    }
    lines
}

/// Waits until processes have done what they do without telling us.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it comes in time");
        thread::sleep(POLL);
    }
}

pub(crate) fn is_alive(pid: Pid) -> bool {
    // What ended and was not waited for yet is dead, too.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}
