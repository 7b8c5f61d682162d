//! A process whose output is collected line by line, and which ends with its owner.

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{pass, wait};

/// How many lines of a process are kept; a process that writes more than that has a fault of its own.
const LINES_MAX: usize = 100_000;

/// A process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    /// Starts what `command` says, with its output collected.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        Self::start_saying(command, Stdio::piped(), Stdio::piped())
    }

    /// Starts what `command` says, with its output and its errors going where they are told; what goes into a pipe is
    /// collected.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start_saying(command: &mut Command, output: Stdio, errors: Stdio) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let output = child
            .stdout
            .take()
            .map(|output| collect(output, Arc::clone(&lines)));
        let errors = child
            .stderr
            .take()
            .map(|errors| collect(errors, Arc::clone(&lines)));
        let readers = output.into_iter().chain(errors).collect();
        Self {
            child,
            lines,
            readers,
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process number"))
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal)
            .unwrap_or_else(|error| panic!("{signal}: {error}; it said:\n{}", self.output()));
    }

    /// All it has said.
    #[must_use]
    pub fn output(&self) -> String {
        self.lines.lock().expect("no panic while locked").join("\n")
    }

    /// How many lines it has said that hold `text`.
    #[must_use]
    pub fn said(&self, text: &str) -> usize {
        let lines = self.lines.lock().expect("no panic while locked");
        lines.iter().filter(|line| line.contains(text)).count()
    }

    /// Whether it runs, stopped or not.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The processor time that its threads have used whose names begin like this.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn processor_time(&self, thread_name: &str) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process lives");
        threads
            .map(|thread| thread.expect("the process lives").path())
            .filter(|thread| {
                let name = std::fs::read_to_string(thread.join("comm")).unwrap_or_default();
                name.starts_with(thread_name)
            })
            .map(|thread| used(&std::fs::read_to_string(thread.join("stat")).expect("the thread lives")))
            .sum()
    }

    /// The part of a core that it uses in the time to come.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    pub async fn processor_part(&self, time: Duration) -> f64 {
        let (began, used) = (Instant::now(), self.processor_time(""));
        pass(time).await;
        let spent = self.processor_time("").saturating_sub(used);
        spent.as_secs_f64() / began.elapsed().as_secs_f64()
    }

    /// The most memory that it had at any time, in bytes.
    ///
    /// # Panics
    ///
    /// When the process is gone.
    #[must_use]
    pub fn memory_peak(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the process lives");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak");
        let kilobytes: usize = peak
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .expect("a number of kB");
        kilobytes * 1024
    }

    /// How many files it may have open from now on; none of those that are open is closed.
    ///
    /// # Panics
    ///
    /// Without the program `prlimit`.
    pub fn limit_files(&self, files: usize) {
        let mut command = Command::new("prlimit");
        command.args([format!("--pid={}", self.pid()), format!("--nofile={files}:")]);
        let status = command.status().expect("prlimit, of util-linux, is there");
        assert!(status.success(), "{command:?}: {status}");
    }

    /// Waits until it has ended, and says how and after how long.
    ///
    /// # Panics
    ///
    /// When it does not end within `limit`.
    pub async fn ended(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let mut status = None;
        wait("the process ends", limit, async || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        let status = status.expect("it has ended");
        if status.signal().is_none() {
            for reader in self.readers.drain(..) {
                // Its output has ended with it.
                reader.join().expect("a reader does not panic");
            }
        }
        (status, started.elapsed())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let lines = self.lines.lock().expect("no panic while locked");
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("process {} said last:\n{}", self.child.id(), last.join("\n"));
        }
    }
}

/// The processor time that a thread's line of `/proc` tells.
fn used(stat: &str) -> Duration {
    // Behind the name, which may hold anything, in brackets: field 3 on; user and system time are 14 and 15.
    let fields: Vec<_> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    // A tick is a hundredth of a second on every Linux.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn collect(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut lines = lines.lock().expect("no panic while locked");
            if lines.len() < LINES_MAX {
                lines.push(line);
            }
        }
    })
}
