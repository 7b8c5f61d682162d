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
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::sleep,
};

use super::{
    backoff::Backoff,
    printer::Printer,
    process::{Launch, describe},
    started::{Event, Started, next_of},
};

/// How long a start may take before somebody wonders what it is waiting for.
const IMPATIENCE: Duration = Duration::from_secs(15);

/// How a node is known to be ready.
pub(super) trait Readiness: Clone + Sync + 'static {
    /// Waits until the node with this id can be called; answers where. Meanwhile it tells what it is waiting for.
    fn ready(&self, id: &str, waiting: &Waiting) -> impl Future<Output = Reached> + Send;
}

/// Where a node can be called.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) address: String,
    /// Whether it speaks TLS there, and nothing else.
    pub(super) has_tls: bool,
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

/// What a node is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It is one of those that were asked for.
    Service,
    /// It stands in front of them, and they go on without it.
    Front,
}

/// A node became ready for the first time, there.
#[derive(Debug)]
pub(super) struct FirstReady(pub(super) Role, pub(super) Reached);

/// What keeping one node takes.
pub(super) struct Keeper<R> {
    pub(super) role: Role,
    /// What it is called, and the place of that among the labels of the printer.
    pub(super) label: String,
    pub(super) index: usize,
    pub(super) launch: Arc<Launch>,
    pub(super) readiness: R,
    pub(super) printer: Printer,
    pub(super) ready: mpsc::Sender<FirstReady>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) versions: watch::Receiver<u64>,
}

/// Those that were replaced, on their way down.
type Leaving = JoinSet<io::Result<ExitStatus>>;

/// How the last process of the node ended.
struct Exit {
    status: io::Result<ExitStatus>,
    ready_for: Duration,
}

impl<R: Readiness + Send> Keeper<R> {
    /// Runs until the node is not to be started again, and what was replaced has ended.
    pub(super) async fn keep(mut self) -> End {
        let mut leaving = JoinSet::new();
        let end = self.keep_running(&mut leaving).await;
        while *self.phase.borrow() != Phase::Killing {
            tokio::select! {
                left = leaving.join_next() => match left {
                    Some(left) => self.note(left).await,
                    None => return end,
                },
                _ = next(&mut self.phase) => {}
            }
        }
        end
    }

    async fn keep_running(&mut self, leaving: &mut Leaving) -> End {
        let mut backoff = Backoff::new();
        let mut was_ready = false;
        loop {
            let exit = match self.start() {
                Ok(started) => self.run(started, leaving, &mut was_ready).await,
                Err(error) => Exit {
                    status: Err(error),
                    ready_for: Duration::ZERO,
                },
            };
            let words = words(&exit.status);
            if *self.phase.borrow() != Phase::Running {
                if stopped_well(&exit.status) {
                    return End::Stopped;
                }
                return End::StoppedBadly(format!("{} did not stop well: {words}", self.label));
            }
            if exit.status.is_ok_and(|status| status.success()) {
                self.say("ended by itself (exit code 0) and stays so").await;
                return End::Finished;
            }
            if !was_ready {
                return End::NeverReady(format!("{} ended before it was ready: {words}", self.label));
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

    /// Starts a process of the newest version.
    fn start(&mut self) -> io::Result<Started> {
        self.versions.borrow_and_update();
        // An id of its own for every start: the registry may still hold the last one.
        let id = format!("{}-{}", self.label, suffix());
        let process = self.launch.start(&id)?;
        Ok(Started::new(
            process,
            id,
            self.readiness.clone(),
            self.index,
            &self.printer,
        ))
    }

    /// Runs a process, and those that take its place, until one ends that no other stands in for.
    async fn run(&mut self, mut current: Started, leaving: &mut Leaving, was_ready: &mut bool) -> Exit {
        let mut newer: Option<Started> = None;
        // Where the current one is, from when it took a place until those before it have ended.
        let mut taken_over: Option<String> = None;
        let mut impatience = pin!(sleep(IMPATIENCE));
        let status = loop {
            tokio::select! {
                event = current.next() => match event {
                    Event::Ready(reached) => {
                        self.tell("ready", "is ready", &current.id, &reached.address).await;
                        if !std::mem::replace(was_ready, true) {
                            // Nobody listens any more when everything is being stopped.
                            let _ = self.ready.send(FirstReady(self.role, reached)).await;
                        }
                    }
                    Event::Ended(status) => match newer.take() {
                        Some(next) if *self.phase.borrow() == Phase::Running => {
                            self.say(&format!("ended ({}) while its successor starts", words(&status))).await;
                            current = next;
                            taken_over = None;
                        }
                        next => {
                            next.into_iter().for_each(|next| drop(leaving.spawn(next.ended())));
                            break status;
                        }
                    }
                },
                event = next_of(newer.as_mut()) => match event {
                    Event::Ready(reached) => if let Some(next) = newer.take() {
                        self.tell("ready", "is ready", &next.id, &reached.address).await;
                        taken_over = Some(reached.address);
                        let old = std::mem::replace(&mut current, next);
                        old.process.terminate();
                        leaving.spawn(old.ended());
                    },
                    Event::Ended(status) => {
                        newer = None;
                        let words = words(&status);
                        self.say(&format!("has a newer version that ended before it was ready ({words}); the old one stays")).await;
                    }
                },
                () = &mut impatience, if !impatience.is_elapsed() => {
                    if current.ready_since.is_none() {
                        self.say(&format!("is not ready yet: {}", current.waiting.words())).await;
                    }
                }
                Ok(()) = self.versions.changed(), if *self.phase.borrow() == Phase::Running => match self.start() {
                    // One that was on its way is older now; dropping kills it.
                    Ok(started) => newer = Some(started),
                    Err(error) => self.say(&format!("cannot be replaced: {error}")).await,
                },
                Some(left) = leaving.join_next() => {
                    self.note(left).await;
                    // Before that the old ones may still answer; and nothing takes a place when everything ends.
                    let is_running = *self.phase.borrow() == Phase::Running;
                    if is_running && leaving.is_empty() && let Some(address) = taken_over.take() {
                        self.tell("replaced", "is replaced", &current.id, &address).await;
                    }
                },
                phase = next(&mut self.phase) => match phase {
                    Phase::Running => {}
                    Phase::Draining => {
                        current.process.terminate();
                        newer.iter().for_each(|newer| newer.process.terminate());
                    }
                    Phase::Killing => {
                        current.process.kill();
                        newer = None;
                        leaving.abort_all();
                    }
                }
            }
        };
        let ready_for = current
            .ready_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        current.last_lines().await;
        Exit { status, ready_for }
    }

    /// Says how one that was replaced ended, if it did not end well.
    async fn note(&self, left: Result<io::Result<ExitStatus>, JoinError>) {
        // One that is not waited for was killed.
        if let Ok(status) = left
            && !stopped_well(&status)
        {
            let words = words(&status);
            self.say(&format!(
                "was replaced, and its old version did not stop well: {words}"
            ))
            .await;
        }
    }

    async fn is_stopped_within(&mut self, wait: Duration) -> bool {
        let stopped = self.phase.wait_for(|phase| *phase != Phase::Running);
        tokio::select! {
            _ = stopped => true,
            () = sleep(wait) => false,
        }
    }

    async fn say(&self, words: &str) {
        self.printer.say(format!("{} {words}", self.label)).await;
    }

    /// Says which node can be called now, and where.
    async fn tell(&self, event: &str, words: &str, node: &str, address: &str) {
        let process = self.label.as_str();
        let facts = [
            ("event", event),
            ("process", process),
            ("node", node),
            ("address", address),
        ];
        let facts = facts.map(|(name, value)| (name.to_owned(), value.into()));
        let words = format!("{process} {words}: {node} at {address}");
        self.printer.tell(words, facts.into_iter().collect()).await;
    }
}

/// The phase after the next change; when nobody can change it any more, everything ends at once.
async fn next(phase: &mut watch::Receiver<Phase>) -> Phase {
    match phase.changed().await {
        Ok(()) => *phase.borrow_and_update(),
        Err(_) => Phase::Killing,
    }
}

fn words(status: &io::Result<ExitStatus>) -> String {
    match status {
        Ok(status) => describe(*status),
        Err(error) => error.to_string(),
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
