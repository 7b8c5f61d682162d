//! The task of a session: the one browse, fanned out through the directory, and what keeps its answers true.

use std::{sync::Arc, time::Duration};

use mdns_sd::{DaemonEvent, Receiver, ServiceEvent};
use micro_registry::{Error, ErrorKind, Result, SkippedRecords};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::{
    daemon::{Daemon, Running},
    directory::{Directory, Heard, INSTANCES_MAX, VERIFY_INTERVAL},
    interfaces::Interfaces,
    multicast,
    phase::Phase,
    session::Shared,
    warning::Warning,
};

/// How often to look for what is due.
const TICK: Duration = Duration::from_millis(500);
/// The most instances verified in one tick, so that those due together do not flood the network.
const VERIFIED_MAX: usize = 50;
/// How long after a removal to browse anew every [`VERIFY_INTERVAL`]: mdns-sd does not ask again for an instance that
/// did not answer in time, and a process that was stopped for a while goes on.
const REVIVAL_WAIT: Duration = Duration::from_secs(60);
/// After how many removals a new browse forgets what the daemon holds of instances that are gone: it would ask for each
/// of them for more than an hour.
const REMOVALS_MAX: usize = 50;
/// The pause before browsing anew when the daemon closed the browse because its events were not read in time.
const CLOSED_PAUSE: Duration = Duration::from_millis(500);
/// How long the daemon may take to begin a browse.
const BEGIN_WAIT: Duration = Duration::from_secs(5);
/// Which of its own questions the daemon is about to send when all that it holds was handed out.
const REPLAYED: u32 = 1;
/// Which of its own questions the daemon is about to send when everybody had 3 s and three reasons to answer.
const ANSWERED: u32 = 3;

/// Owns the daemon; what it hears goes into the directory.
pub(crate) struct Browser {
    shared: Arc<Shared>,
    daemon: Running,
    monitor: Receiver<DaemonEvent>,
    events: Receiver<ServiceEvent>,
    listening: bool,
    round: Round,
    /// When an instance last went, and how many did since everything was asked for anew.
    removed: Option<Instant>,
    removals: usize,
    skipped: SkippedRecords,
    trouble: Warning,
}

/// In a round everything that is there is heard once more; what is not is gone.
struct Round {
    began: Instant,
    /// How often the daemon has said that it searches: once for the command, then once for each of its questions.
    searches: u32,
    /// After which of its questions the round is over.
    ends: u32,
}

impl Browser {
    /// Finds out whether multicast works, and begins to browse.
    pub(crate) async fn start(shared: Arc<Shared>) -> Result<Self> {
        let interfaces = &shared.settings.interfaces;
        multicast::check(interfaces).await?;
        let loopback = Interfaces::loopback_numbers()?;
        shared
            .directory
            .send_modify(|directory| directory.loopback = loopback);
        let daemon = Daemon::start(interfaces).await?;
        let monitor = daemon.monitor().await?;
        let events = ask_all(&daemon, interfaces).await?;
        debug!(%interfaces, "mdns started");
        shared.directory.send_modify(|directory| {
            directory.phase = Phase::Running(Daemon::clone(&daemon));
            directory.listening = Some(Instant::now());
        });
        Ok(Self {
            shared,
            daemon,
            monitor,
            events,
            listening: true,
            round: Round::after(1, ANSWERED),
            removed: None,
            removals: 0,
            skipped: SkippedRecords::new("mdns"),
            trouble: Warning::default(),
        })
    }

    /// Listens until the daemon ends, and says why it did.
    pub(crate) async fn run(mut self) -> Error {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shared = Arc::clone(&self.shared);
        loop {
            let done = tokio::select! {
                event = self.events.recv_async(), if self.listening => match event {
                    Ok(event) => {
                        self.hear(event);
                        Ok(())
                    }
                    Err(_closed) => self.reopen().await,
                },
                event = self.monitor.recv_async() => match event {
                    Ok(event) => {
                        self.watch_over(&event);
                        Ok(())
                    }
                    Err(error) => {
                        Err(Error::new(ErrorKind::Unavailable, "the mDNS daemon has ended").with_source(error))
                    }
                },
                () = shared.wake.notified() => self.wake().await,
                _ = ticks.tick() => self.tick().await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    /// Takes in an event and all that wait behind it, so that a burst wakes everybody once.
    fn hear(&mut self, event: ServiceEvent) {
        let shared = Arc::clone(&self.shared);
        shared.directory.send_if_modified(|directory| {
            let mut changed = self.take_in(event, directory);
            while let Ok(event) = self.events.try_recv() {
                changed |= self.take_in(event, directory);
            }
            changed
        });
    }

    fn take_in(&mut self, event: ServiceEvent, directory: &mut Directory) -> bool {
        match event {
            ServiceEvent::ServiceResolved(service) => match directory.hear(&service) {
                Heard::Changed => true,
                Heard::Known => false,
                Heard::Bad(error) => {
                    self.skipped.skip(service.get_fullname(), &error);
                    false
                }
                Heard::Full => {
                    if let Some(more) = self.trouble.due() {
                        warn!(
                            max = INSTANCES_MAX,
                            more, "mdns has too many instances; others are skipped"
                        );
                    }
                    false
                }
            },
            ServiceEvent::ServiceRemoved(_, name) => {
                self.removed = Some(Instant::now());
                self.removals += 1;
                directory.remove(&name)
            }
            ServiceEvent::SearchStarted(_) => {
                self.round.searches += 1;
                self.question(directory)
            }
            // `ServiceFound` comes before there is anything to know; the rest is the end of a browse that we replaced.
            _ => false,
        }
    }

    /// The daemon is about to send a question of its own, or has just begun.
    fn question(&self, directory: &mut Directory) -> bool {
        let questions = self.round.searches - 1;
        let first = questions > 0 && directory.asked.is_none();
        if first {
            directory.asked = Some(Instant::now());
        }
        let over = questions == self.round.ends && directory.end_round();
        first || over
    }

    fn watch_over(&mut self, event: &DaemonEvent) {
        if let DaemonEvent::Error(error) = event
            && let Some(more) = self.trouble.due()
        {
            warn!(%error, more, "mdns daemon has trouble");
        }
    }

    async fn tick(&mut self) -> Result<()> {
        for instance in self.shared.announcer.expired() {
            debug!(instance, "mdns announcement was not renewed");
            self.shared
                .directory
                .send_if_modified(|directory| directory.withdraw(&instance));
            self.daemon.forgo(&instance).await?;
        }
        if self.listening {
            self.keep_true().await?;
            self.rest().await?;
        }
        Ok(())
    }

    /// Verifies what is due, and asks again for what may have been missed.
    async fn keep_true(&mut self) -> Result<()> {
        let mut due = Vec::new();
        let mut misses_text = false;
        self.shared.directory.send_if_modified(|directory| {
            due = directory.due(|service| self.shared.interest.has(service), VERIFIED_MAX);
            misses_text = directory.misses_text();
            false
        });
        for name in due {
            self.daemon.verify(&name).await?;
        }
        let reviving = self
            .removed
            .is_some_and(|removed| removed.elapsed() < REVIVAL_WAIT);
        if misses_text {
            self.browse_anew().await
        } else if reviving && self.round.began.elapsed() >= VERIFY_INTERVAL {
            self.browse_again().await
        } else {
            Ok(())
        }
    }

    /// Stops listening if nobody cares: the daemon of each listener asks for each instance there is again and again, so
    /// that many of them on one host are loud. A process that announces and asks for nothing is silent.
    async fn rest(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let rests = shared.directory.send_if_modified(|directory| {
            let rests = !shared.interest.is_any() && !shared.announcer.is_any_new();
            if rests {
                directory.rest();
            }
            rests
        });
        if rests {
            debug!("mdns rests: nothing is asked for");
            self.listening = false;
            self.daemon.forget().await?;
        }
        Ok(())
    }

    /// Listens to everything, if nobody does.
    async fn wake(&mut self) -> Result<()> {
        if self.listening {
            return Ok(());
        }
        debug!("mdns listens");
        self.listening = true;
        self.browse_anew().await?;
        self.shared
            .directory
            .send_modify(|directory| directory.listening = Some(Instant::now()));
        Ok(())
    }

    /// Browses again after the daemon closed the browse.
    async fn reopen(&mut self) -> Result<()> {
        if let Some(more) = self.trouble.due() {
            warn!(
                more,
                "mdns events came faster than they were read; browsing again"
            );
        }
        time::sleep(CLOSED_PAUSE).await;
        self.browse_again().await
    }

    /// Lets the daemon hand out all that it holds, and ask those who did not answer.
    async fn browse_again(&mut self) -> Result<()> {
        if self.removals > REMOVALS_MAX {
            return self.browse_anew().await;
        }
        self.begin_round(Round::after(0, REPLAYED));
        self.events = self.daemon.browse().await?;
        Ok(())
    }

    /// Lets the daemon forget all that it holds, and asks everybody.
    async fn browse_anew(&mut self) -> Result<()> {
        self.begin_round(Round::after(1, ANSWERED));
        self.removals = 0;
        self.daemon.forget().await?;
        self.events = ask_all(&self.daemon, &self.shared.settings.interfaces).await?;
        Ok(())
    }

    fn begin_round(&mut self, round: Round) {
        self.round = round;
        self.shared.directory.send_if_modified(|directory| {
            directory.begin_round();
            false
        });
    }
}

/// Begins to browse, and asks everybody to answer at once.
async fn ask_all(daemon: &Daemon, interfaces: &Interfaces) -> Result<Receiver<ServiceEvent>> {
    let events = daemon.browse().await?;
    // The first event says that the daemon has begun; before that it takes no answers.
    let late = || Error::new(ErrorKind::Unavailable, "browse by mDNS");
    match time::timeout(BEGIN_WAIT, events.recv_async()).await {
        Ok(Ok(_began)) => multicast::ask(interfaces).await?,
        Ok(Err(error)) => return Err(late().with_source(error)),
        Err(elapsed) => return Err(late().with_source(elapsed)),
    }
    Ok(events)
}

impl Round {
    fn after(searches: u32, ends: u32) -> Self {
        Self {
            began: Instant::now(),
            searches,
            ends,
        }
    }
}
