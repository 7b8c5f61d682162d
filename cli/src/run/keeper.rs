//! Keeps one node running: starts it, tells when it is ready, starts it again after a crash, and stops it when told to.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    pin::pin,
    process::ExitStatus,
    sync::{Arc, Mutex},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    io::AsyncRead,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    backoff::Backoff,
    lines::Lines,
    printer::Printer,
    process::{Launch, Process, describe},
};

/// How long the last lines of a node may take after its end: a child of its own may hold the pipe open.
const LAST_LINES_WAIT: Duration = Duration::from_secs(3);

/// How long a start may take before somebody wonders what it is waiting for.
const IMPATIENCE: Duration = Duration::from_secs(15);

/// How a node is known to be ready.
pub(super) trait Readiness: Clone + Sync + 'static {
    /// Waits until the node with this id can be called; answers where. Meanwhile it tells what it is waiting for.
    fn ready(&self, id: &str, waiting: &Waiting) -> impl Future<Output = String> + Send;
}

/// What a node that is not ready is waiting for.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<String>);

impl Waiting {
    /// Says what it is waiting for now.
    pub(super) fn set(&self, words: String) {
        *self.0.lock().expect("no panic while the words are locked") = words;
    }

    fn words(&self) -> String {
        self.0
            .lock()
            .expect("no panic while the words are locked")
            .clone()
    }
}

/// What the whole of `micro run` is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nodes run, and crashed ones are started again.
    Running,
    /// Nodes were asked to drain and end.
    Draining,
    /// Nodes are to end at once.
    Killing,
}

/// How the keeping of a node came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// It was asked to stop, and did.
    Stopped,
    /// It ended without success while it was being stopped.
    StoppedBadly(String),
    /// It ended of its own accord, with success.
    Finished,
    /// It ended before it was ever ready, so that starting it again would be useless.
    NeverReady(String),
}

/// A node became ready for the first time.
#[derive(Debug)]
pub(super) struct FirstReady;

/// What keeping one node takes.
pub(super) struct Keeper<R> {
    pub(super) name: String,
    pub(super) number: usize,
    pub(super) launch: Arc<Launch>,
    pub(super) readiness: R,
    pub(super) printer: Printer,
    pub(super) ready: mpsc::Sender<FirstReady>,
    pub(super) phase: watch::Receiver<Phase>,
}

/// How one process of the node ended.
struct Exit {
    status: io::Result<ExitStatus>,
    ready_for: Duration,
}

impl<R: Readiness> Keeper<R> {
    /// Runs until the node is not to be started again.
    pub(super) async fn keep(mut self) -> End {
        let mut backoff = Backoff::new();
        let mut was_ready = false;
        loop {
            // An id of its own for every start: the registry may still hold the last one.
            let id = format!("{}-{}", self.label(), suffix());
            let exit = match self.launch.start(&id) {
                Ok(process) => self.run(process, &id, &mut was_ready).await,
                Err(error) => Exit {
                    status: Err(error),
                    ready_for: Duration::ZERO,
                },
            };
            let words = match &exit.status {
                Ok(status) => describe(*status),
                Err(error) => error.to_string(),
            };
            if *self.phase.borrow() != Phase::Running {
                if stopped_well(&exit.status) {
                    return End::Stopped;
                }
                return End::StoppedBadly(format!("{} did not stop well: {words}", self.label()));
            }
            if exit.status.is_ok_and(|status| status.success()) {
                self.say("ended by itself (exit code 0) and stays so").await;
                return End::Finished;
            }
            if !was_ready {
                return End::NeverReady(format!("{} ended before it was ready: {words}", self.label()));
            }
            let wait = backoff.after(exit.ready_for);
            let shown = humantime::format_duration(wait);
            self.say(&format!("crashed ({words}); starting it again in {shown}"))
                .await;
            if self.is_stopped_within(wait).await {
                return End::Stopped;
            }
        }
    }

    async fn run(&mut self, mut process: Process, id: &str, was_ready: &mut bool) -> Exit {
        let mut forwarding = self.forward(&mut process);
        let (readiness, waiting) = (self.readiness.clone(), Waiting::default());
        let mut ready = pin!(readiness.ready(id, &waiting));
        let mut impatience = pin!(sleep(IMPATIENCE));
        let mut ready_since = None;
        let status = loop {
            tokio::select! {
                status = process.wait() => break status,
                address = &mut ready, if ready_since.is_none() => {
                    ready_since = Some(Instant::now());
                    self.say(&format!("is ready: {id} at {address}")).await;
                    if !std::mem::replace(was_ready, true) {
                        // Nobody listens any more when everything is being stopped.
                        let _ = self.ready.send(FirstReady).await;
                    }
                }
                () = &mut impatience, if ready_since.is_none() && !impatience.is_elapsed() => {
                    self.say(&format!("is not ready yet: {}", waiting.words())).await;
                }
                phase = next(&mut self.phase) => match phase {
                    Phase::Running => {}
                    Phase::Draining => process.terminate(),
                    Phase::Killing => process.kill(),
                }
            }
        };
        // Both ends were read, or somebody else holds them: nothing more is to come.
        let _ = timeout(LAST_LINES_WAIT, async {
            while forwarding.join_next().await.is_some() {}
        })
        .await;
        Exit {
            status,
            ready_for: ready_since.map_or(Duration::ZERO, |since| since.elapsed()),
        }
    }

    fn forward(&self, process: &mut Process) -> JoinSet<()> {
        let (output, errors) = process.take_output();
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward(output, self.number, self.printer.clone()));
        forwarding.spawn(forward(errors, self.number, self.printer.clone()));
        forwarding
    }

    async fn is_stopped_within(&mut self, wait: Duration) -> bool {
        let stopped = self.phase.wait_for(|phase| *phase != Phase::Running);
        tokio::select! {
            _ = stopped => true,
            () = sleep(wait) => false,
        }
    }

    fn label(&self) -> String {
        format!("{}-{}", self.name, self.number)
    }

    async fn say(&self, words: &str) {
        self.printer.say(format!("{} {words}", self.label())).await;
    }
}

/// The phase after the next change; when nobody can change it any more, everything ends at once.
async fn next(phase: &mut watch::Receiver<Phase>) -> Phase {
    match phase.changed().await {
        Ok(()) => *phase.borrow_and_update(),
        Err(_) => Phase::Killing,
    }
}

async fn forward(source: impl AsyncRead + Unpin, number: usize, printer: Printer) {
    let mut lines = Lines::new(source);
    // A pipe that cannot be read any more has nothing more to show.
    while let Ok(Some(line)) = lines.next().await {
        printer.node(number, line).await;
    }
}

fn stopped_well(status: &io::Result<ExitStatus>) -> bool {
    let terminated = Signal::SIGTERM as i32;
    // A node that was still starting has no handler for the signal yet; one that could not be started is no more.
    status.as_ref().map_or(true, |status| {
        status.success() || status.signal() == Some(terminated)
    })
}

/// Four letters and digits that tell this start from all others.
fn suffix() -> String {
    let mut random = fastrand::Rng::new();
    (0..4)
        .map(|_| random.alphanumeric().to_ascii_lowercase())
        .collect()
}
