//! A process that gets a small part of the processor.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use tokio::task::JoinHandle;

use super::{Process, pass};

/// The period that quotas of processor time are given for.
const PERIOD: Duration = Duration::from_millis(100);

/// Lets a process run for a part of each tenth of a second, all its threads at once and none of them otherwise, which is what
/// a quota of a control group does to a process that has work. It runs freely again when this is dropped.
#[derive(Debug)]
pub(super) struct Throttle {
    task: JoinHandle<()>,
    pid: nix::unistd::Pid,
}

impl Throttle {
    /// Lets `process` run for `part` of the time from now on.
    pub(super) fn new(process: &Process, part: f64) -> Self {
        let pid = process.pid();
        let runs = PERIOD.mul_f64(part);
        let task = tokio::spawn(async move {
            loop {
                // Fails when the process is gone, and then there is nothing to hold up.
                let _ = kill(pid, Signal::SIGCONT);
                pass(runs).await;
                let _ = kill(pid, Signal::SIGSTOP);
                pass(PERIOD.saturating_sub(runs)).await;
            }
        });
        Self { task, pid }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.task.abort();
        // Fails when the process is gone.
        let _ = kill(self.pid, Signal::SIGCONT);
    }
}
