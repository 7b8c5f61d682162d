//! The task of a session: the one browse, fanned out through the directory, and what keeps its answers true.

use std::{sync::Arc, time::Duration};

use mdns_sd::{DaemonEvent, Receiver, ServiceEvent};
use micro_registry::{Error, ErrorKind, Result};
use tokio::time::{self, Instant, MissedTickBehavior};
use tracing::{debug, warn};

use crate::{
    daemon::{Daemon, Running},
    directory::{Directory, Heard, Phase, VERIFY_INTERVAL},
    multicast,
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
/// The pause before browsing anew when the daemon closed the browse because its events were not read in time.
const CLOSED_PAUSE: Duration = Duration::from_millis(500);

/// Owns the daemon; what it hears goes into the directory.
pub(crate) struct Browser {
    shared: Arc<Shared>,
    daemon: Running,
    monitor: Receiver<DaemonEvent>,
    events: Receiver<ServiceEvent>,
    round: Round,
    removed: Option<Instant>,
    refused: Warning,
    troubled: Warning,
}

/// A browse hears everything that is there once more; what it does not hear is gone.
struct Round {
    began: Instant,
    /// How many times the daemon said that the search has started: once for the command, then once for each question.
    starts: u32,
}

impl Browser {
    /// Finds out whether multicast works, and begins to browse.
    pub(crate) async fn start(shared: Arc<Shared>) -> Result<Self> {
        let interfaces = &shared.settings.interfaces;
        multicast::check(interfaces).await?;
        let daemon = Daemon::start(interfaces).await?;
        let monitor = daemon.monitor().await?;
        let events = daemon.browse().await?;
        debug!(%interfaces, "mdns started");
        shared.directory.send_modify(|directory| {
            directory.phase = Phase::Running(Daemon::clone(&daemon), Instant::now());
        });
        Ok(Self {
            shared,
            daemon,
            monitor,
            events,
            round: Round::begin(),
            removed: None,
            refused: Warning::default(),
            troubled: Warning::default(),
        })
    }

    /// Listens until the daemon ends, and says why it did.
    pub(crate) async fn run(mut self) -> Error {
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                event = self.events.recv_async() => match event {
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
                Heard::Refused(error) => {
                    if let Some(more) = self.refused.due() {
                        warn!(instance = service.get_fullname(), %error, cause = cause(&error), more, "mdns record skipped");
                    }
                    false
                }
            },
            ServiceEvent::ServiceRemoved(_, name) => {
                self.removed = Some(Instant::now());
                directory.remove(&name)
            }
            ServiceEvent::SearchStarted(_) => {
                self.round.starts += 1;
                if self.round.starts < 2 {
                    return false;
                }
                directory.queries.asked();
                // Everything that the daemon still knows was handed out before its first question.
                if self.round.starts == 2 {
                    directory.end_round();
                }
                true
            }
            // `ServiceFound` comes before there is anything to know; the rest is the end of a browse that we replaced.
            _ => false,
        }
    }

    fn watch_over(&mut self, event: &DaemonEvent) {
        if let DaemonEvent::Error(error) = event
            && let Some(more) = self.troubled.due()
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
        let mut due = Vec::new();
        self.shared.directory.send_if_modified(|directory| {
            due = directory.due(|service| self.shared.interest.has(service), VERIFIED_MAX);
            false
        });
        for name in due {
            self.daemon.verify(&name).await?;
        }
        let reviving = self
            .removed
            .is_some_and(|removed| removed.elapsed() < REVIVAL_WAIT);
        if reviving && self.round.began.elapsed() >= VERIFY_INTERVAL {
            self.browse().await?;
        }
        Ok(())
    }

    /// Browses anew after the daemon closed the browse.
    async fn reopen(&mut self) -> Result<()> {
        if let Some(more) = self.troubled.due() {
            warn!(more, "mdns events came faster than they were read; browsing anew");
        }
        time::sleep(CLOSED_PAUSE).await;
        self.browse().await
    }

    async fn browse(&mut self) -> Result<()> {
        self.shared.directory.send_if_modified(|directory| {
            directory.begin_round();
            false
        });
        self.round = Round::begin();
        self.events = self.daemon.browse().await?;
        Ok(())
    }
}

impl Round {
    fn begin() -> Self {
        Self {
            began: Instant::now(),
            starts: 0,
        }
    }
}

/// Why a record was refused, in full: `Display` is the outermost level alone.
fn cause(error: &Error) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
