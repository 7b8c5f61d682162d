//! The life of `micro run` once all is built: all nodes up, the next step told, what is in front of them up, and all down.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};

use super::{
    keeper::{End, FirstReady, Keeper, Phase, Reached, Readiness, Role},
    printer::{self, Facts, Printer, Printing},
    process::Launch,
};
use crate::failure::{Failure, Result};

/// How long nodes may take to drain: twice what the framework allows itself.
const DRAIN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long the kernel may take to end killed nodes.
const KILL_WAIT_MAX: Duration = Duration::from_secs(30);

/// A service of which nodes are to run.
pub(super) struct Plan<R> {
    /// The name of the package, from which nodes are named.
    pub(super) name: String,
    /// How many nodes.
    pub(super) nodes: usize,
    /// How each is started.
    pub(super) launch: Launch,
    /// How each is known to be ready.
    pub(super) readiness: R,
    /// Changes when there is something newer to run in the place of what runs.
    pub(super) versions: watch::Receiver<u64>,
}

/// What comes once all services are ready.
pub(super) struct Next<R> {
    /// What is said then.
    pub(super) words: String,
    /// What is started then, to stand in front of them.
    pub(super) front: Option<Front<R>>,
}

/// What stands in front of the services.
pub(super) struct Front<R> {
    pub(super) launch: Launch,
    pub(super) readiness: R,
    /// What is said once it is ready.
    pub(super) words: FrontWords,
}

/// What is said of what stands in front, and what a program wants to know of it, by what it turned out to be.
pub(super) type FrontWords = Box<dyn FnOnce(&Reached) -> (String, Facts) + Send>;

/// Runs the services until their nodes have all ended: told to `stop`, by themselves, or unable to start.
///
/// Told to stop again, it kills them. Once all are ready, `next` says what follows; what stands in front, under the name
/// `front`, is there until the services end, and is the first to be stopped.
pub(super) async fn supervise<R>(
    plans: Vec<Plan<R>>,
    front: Option<&str>,
    next: impl Future<Output = Next<R>>,
    is_json: bool,
    stop: &mut mpsc::Receiver<()>,
) -> Result<()>
where
    R: Readiness + Send,
{
    let labels = plans
        .iter()
        .flat_map(|plan| (1..=plan.nodes).map(|number| format!("{}-{number}", plan.name)));
    let labels: Vec<_> = labels.chain(front.map(str::to_owned)).collect();
    let (printer, printing) = printer::start(&labels, is_json)
        .map_err(|error| Failure::because("start the printing thread", &error))?;
    let mut run = Run::new(labels, printer, printing);
    for plan in plans {
        run.start(plan);
    }
    let ended = run.until_all_ended(next, stop).await;
    run.finish().await;
    ended
}

/// The end of a node, and what it was there for.
type Ended = (Role, End);

struct Run {
    labels: Vec<String>,
    /// How many of the labels are in use.
    started: usize,
    /// How many nodes of services are still kept.
    nodes: usize,
    keepers: JoinSet<Ended>,
    is_ready: mpsc::Sender<FirstReady>,
    ready: mpsc::Receiver<FirstReady>,
    /// What the whole is doing.
    phase: Phase,
    /// What the nodes of the services are told to do; they go on while what is in front of them drains.
    services: watch::Sender<Phase>,
    /// What the front is told to do, if it runs.
    front: Option<watch::Sender<Phase>>,
    /// What to say once that is ready.
    front_words: Option<FrontWords>,
    /// When patience with the present phase ends; not while running.
    deadline: Option<Instant>,
    failure: Option<Failure>,
    printer: Printer,
    printing: Printing,
}

impl Run {
    fn new(labels: Vec<String>, printer: Printer, printing: Printing) -> Self {
        let (is_ready, ready) = mpsc::channel(labels.len().max(1));
        Self {
            labels,
            started: 0,
            nodes: 0,
            keepers: JoinSet::new(),
            is_ready,
            ready,
            phase: Phase::Running,
            services: watch::channel(Phase::Running).0,
            front: None,
            front_words: None,
            deadline: None,
            failure: None,
            printer,
            printing,
        }
    }

    /// Starts the nodes of a service.
    fn start<R: Readiness + Send>(&mut self, plan: Plan<R>) {
        let launch = Arc::new(plan.launch);
        for _ in 0..plan.nodes {
            let (launch, readiness) = (Arc::clone(&launch), plan.readiness.clone());
            let phase = self.services.subscribe();
            self.keep(Role::Service, launch, readiness, phase, plan.versions.clone());
            self.nodes += 1;
        }
    }

    fn start_front<R: Readiness + Send>(&mut self, front: Front<R>) {
        let (phase, watched) = watch::channel(Phase::Running);
        // Nothing newer ever comes.
        let versions = watch::channel(0).1;
        self.keep(
            Role::Front,
            Arc::new(front.launch),
            front.readiness,
            watched,
            versions,
        );
        self.front = Some(phase);
        self.front_words = Some(front.words);
    }

    fn keep<R: Readiness + Send>(
        &mut self,
        role: Role,
        launch: Arc<Launch>,
        readiness: R,
        phase: watch::Receiver<Phase>,
        versions: watch::Receiver<u64>,
    ) {
        let index = self.started;
        self.started += 1;
        let keeper = Keeper {
            role,
            label: self.labels[index].clone(),
            index,
            launch,
            readiness,
            printer: self.printer.clone(),
            ready: self.is_ready.clone(),
            phase,
            versions,
        };
        self.keepers.spawn(async move { (role, keeper.keep().await) });
    }

    async fn until_all_ended<R: Readiness + Send>(
        &mut self,
        next: impl Future<Output = Next<R>>,
        stop: &mut mpsc::Receiver<()>,
    ) -> Result<()> {
        let mut next = std::pin::pin!(next);
        let (mut ready, all) = (0, self.nodes);
        let mut is_told = false;
        loop {
            tokio::select! {
                ended = self.keepers.join_next() => match ended {
                    Some(ended) => self.note(ended).await,
                    None => break,
                },
                Some(FirstReady(role, reached)) = self.ready.recv() => match role {
                    Role::Service => ready += 1,
                    Role::Front => if let Some(words) = self.front_words.take() {
                        let (words, facts) = words(&reached);
                        self.printer.tell(words, facts).await;
                    }
                },
                next = &mut next, if ready == all && !is_told && self.is_running() => {
                    is_told = true;
                    self.printer.say(next.words).await;
                    if let Some(front) = next.front {
                        self.start_front(front);
                    }
                }
                Some(()) = stop.recv() => self.escalate("Ctrl-C again kills").await,
                () = self.printing.gone(), if self.is_running() => {
                    self.escalate("nobody reads their output any more").await;
                }
                () = passed(self.deadline) => {
                    if self.phase == Phase::Killing {
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
    async fn note(&mut self, ended: Result<Ended, JoinError>) {
        let role = ended.as_ref().map_or(Role::Service, |(role, _)| *role);
        match role {
            Role::Service => self.nodes = self.nodes.saturating_sub(1),
            Role::Front => self.front = None,
        }
        let failure = match ended {
            Ok((_, End::Stopped | End::Finished)) => None,
            Ok((_, End::StoppedBadly(_))) if self.phase == Phase::Killing => {
                Some("nodes were killed".to_owned())
            }
            Ok((Role::Front, End::NeverReady(words))) => {
                self.printer
                    .say(format!("{words}; the services go on without it"))
                    .await;
                None
            }
            Ok((_, End::StoppedBadly(words) | End::NeverReady(words))) => Some(words),
            Err(error) => Some(format!("a node is no longer kept: {error}")),
        };
        if let Some(failure) = failure {
            self.failure.get_or_insert(Failure::new(failure));
            if self.is_running() {
                self.escalate("another cannot go on").await;
            }
        }
        if self.nodes == 0 && self.is_running() && self.front.is_some() {
            self.escalate("no service is left").await;
        }
        if self.phase == Phase::Draining && role == Role::Front {
            // Nobody comes through it any more.
            self.enter(Phase::Draining, DRAIN_WAIT_MAX);
        }
    }

    /// From running to draining, and from draining to killing.
    async fn escalate(&mut self, remark: &str) {
        let nodes = match self.nodes {
            1 => "1 node".to_owned(),
            several => format!("{several} nodes"),
        };
        let all = match (&self.front, self.nodes) {
            (None, 0) => return,
            (Some(_), 0) => "the gateway".to_owned(),
            (None, _) => nodes,
            (Some(_), _) if self.is_running() => format!("the gateway, then {nodes}"),
            (Some(_), _) => format!("the gateway and {nodes}"),
        };
        if self.is_running() {
            self.enter(Phase::Draining, DRAIN_WAIT_MAX);
            self.printer.say(format!("stopping {all}; {remark}")).await;
        } else {
            self.enter(Phase::Killing, KILL_WAIT_MAX);
            self.printer.say(format!("killing {all}")).await;
        }
    }

    fn enter(&mut self, phase: Phase, patience: Duration) {
        self.phase = phase;
        self.deadline = Some(Instant::now() + patience);
        match &self.front {
            // It drains first: what comes in through it is answered by services that serve.
            Some(front) if phase == Phase::Draining => {
                front.send_replace(phase);
            }
            front => {
                if let Some(front) = front {
                    front.send_replace(phase);
                }
                self.services.send_replace(phase);
            }
        }
    }

    fn is_running(&self) -> bool {
        self.phase == Phase::Running
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
