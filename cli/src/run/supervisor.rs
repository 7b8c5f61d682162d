//! The life of `micro run` once the package is built: all nodes up, the next step told, all nodes down.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    keeper::{End, FirstReady, Keeper, Phase, Readiness},
    printer::{self, Printer, Printing},
    process::Launch,
};
use crate::failure::{Failure, Result};

/// How long nodes may take to drain: twice what the framework allows itself.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the kernel may take to end killed nodes.
const KILL_WAIT_MAX: Duration = Duration::from_secs(30);

/// What is to run.
pub(super) struct Plan {
    /// The name of the package, from which nodes are named.
    pub(super) name: String,
    /// How many nodes.
    pub(super) nodes: usize,
    /// How each is started.
    pub(super) launch: Launch,
    /// Changes when there is something newer to run in the place of what runs.
    pub(super) versions: watch::Receiver<u64>,
}

/// Runs the nodes until they have all ended: told to `stop`, by themselves, or unable to start.
///
/// Told to stop again, it kills them. Once all are ready, says what `next_step` answers.
pub(super) async fn supervise<R>(
    plan: Plan,
    readiness: R,
    next_step: impl Future<Output = String>,
    stop: &mut mpsc::Receiver<()>,
) -> Result<()>
where
    R: Readiness + Send,
{
    let (printer, printing) = printer::start(&plan.name, plan.nodes)
        .map_err(|error| Failure::because("start the printing thread", &error))?;
    let mut run = Run::start(plan, &readiness, printer, printing);
    let ended = run.until_all_ended(next_step, stop).await;
    run.finish().await;
    ended
}

struct Run {
    nodes: usize,
    keepers: JoinSet<End>,
    ready: mpsc::Receiver<FirstReady>,
    phase: watch::Sender<Phase>,
    /// When patience with the present phase ends; not while running.
    deadline: Option<Instant>,
    failure: Option<Failure>,
    printer: Printer,
    printing: Printing,
}

impl Run {
    fn start<R>(plan: Plan, readiness: &R, printer: Printer, printing: Printing) -> Self
    where
        R: Readiness + Send,
    {
        let (phase, watched) = watch::channel(Phase::Running);
        let (sender, ready) = mpsc::channel(plan.nodes);
        let launch = Arc::new(plan.launch);
        let mut keepers = JoinSet::new();
        for number in 1..=plan.nodes {
            let keeper = Keeper {
                name: plan.name.clone(),
                number,
                launch: launch.clone(),
                readiness: readiness.clone(),
                printer: printer.clone(),
                ready: sender.clone(),
                phase: watched.clone(),
                versions: plan.versions.clone(),
            };
            keepers.spawn(keeper.keep());
        }
        Self {
            nodes: plan.nodes,
            keepers,
            ready,
            phase,
            deadline: None,
            failure: None,
            printer,
            printing,
        }
    }

    async fn until_all_ended(
        &mut self,
        next_step: impl Future<Output = String>,
        stop: &mut mpsc::Receiver<()>,
    ) -> Result<()> {
        let mut next_step = std::pin::pin!(next_step);
        let mut ready = 0;
        let mut is_told = false;
        loop {
            tokio::select! {
                ended = self.keepers.join_next() => match ended {
                    Some(ended) => self.note(ended).await,
                    None => break,
                },
                Some(FirstReady) = self.ready.recv() => ready += 1,
                words = &mut next_step, if ready == self.nodes && !is_told && self.is_running() => {
                    is_told = true;
                    self.printer.say(words).await;
                }
                Some(()) = stop.recv() => self.escalate("Ctrl-C again kills").await,
                () = self.printing.gone(), if self.is_running() => {
                    self.escalate("nobody reads their output any more").await;
                }
                () = passed(self.deadline) => {
                    if *self.phase.borrow() == Phase::Killing {
                        // Dropping the keepers kills once more, and waits no longer.
                        return Err(Failure::new("some nodes could not be killed"));
                    }
                    self.escalate("").await;
                }
            }
        }
        self.failure.take().map_or(Ok(()), Err)
    }

    /// What the end of one node means for the others.
    async fn note(&mut self, ended: Result<End, JoinError>) {
        let failure = match ended {
            Ok(End::Stopped | End::Finished) => return,
            Ok(End::StoppedBadly(_)) if *self.phase.borrow() == Phase::Killing => {
                "nodes were killed".to_owned()
            }
            Ok(End::StoppedBadly(words) | End::NeverReady(words)) => words,
            Err(error) => format!("a node is no longer kept: {error}"),
        };
        self.failure.get_or_insert(Failure::new(failure));
        if self.is_running() {
            self.escalate("another cannot go on").await;
        }
    }

    /// From running to draining, and from draining to killing.
    async fn escalate(&mut self, remark: &str) {
        let nodes = match self.keepers.len() {
            0 => return,
            1 => "1 node".to_owned(),
            several => format!("{several} nodes"),
        };
        if self.is_running() {
            self.enter(Phase::Draining, DRAIN_WAIT_MAX);
            self.printer.say(format!("stopping {nodes}; {remark}")).await;
        } else {
            self.enter(Phase::Killing, KILL_WAIT_MAX);
            self.printer.say(format!("killing {nodes}")).await;
        }
    }

    fn enter(&mut self, phase: Phase, patience: Duration) {
        self.phase.send_replace(phase);
        self.deadline = Some(Instant::now() + patience);
    }

    fn is_running(&self) -> bool {
        *self.phase.borrow() == Phase::Running
    }

    async fn finish(self) {
        drop(self.keepers);
        drop(self.printer);
        self.printing.finish().await;
    }
}

/// Waits until then; for ever, if there is no such time.
pub(super) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
