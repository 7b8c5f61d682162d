//! The task behind an announcer: what is tried when, and what each answer means.

use std::{sync::Arc, time::Duration};

use micro_registry::{Error as RegistryError, ErrorKind as RegistryErrorKind};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{
    Instrument as _, Span,
    field::{self, Empty},
    info, info_span, warn,
};

use super::{
    Announcement, Goal, Refusal, Standing, WITHDRAW_TIMEOUT, attempted, describe,
    metrics::{Action, Meter},
    no_answer,
};
use crate::{Error, backoff::Backoff, control::Owned, service::pulse::Pulse};

/// The first bound of the wait after a failure, and the last.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Into how many parts a ttl is divided for the longest wait between renewals that fail, so that several fit into it.
const RETRY_SHARE: u32 = 6;
/// How often a failure that goes on is warned of.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How often the clocks are compared while nothing is due.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// The least time for a renewal, where a third of the ttl is less.
const RENEWAL_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// After how many ttls a node whose id another boot holds gives up: its own old record is gone after one.
const CONFLICT_TTLS: u32 = 2;

/// The task behind an [`Announcer`].
pub(super) struct Announcing {
    announcement: Announcement,
    meter: Meter,
    goals: watch::Receiver<Goal>,
    standing: watch::Sender<Standing>,
    backoff: Backoff,
    warned: Option<Instant>,
    /// The log's last word is that the node is registered.
    told: bool,
    /// The registry took the node at least once.
    known: bool,
    conflict_since: Option<Instant>,
}

/// What comes after an attempt.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Another attempt, now.
    AtOnce,
    /// Another attempt, later.
    At(Instant),
    /// Nothing until the goal changes.
    Rest,
    /// Nothing ever.
    End,
}

impl Announcing {
    pub(super) fn new(
        announcement: Announcement,
        meter: Meter,
        goals: watch::Receiver<Goal>,
        standing: watch::Sender<Standing>,
    ) -> Self {
        // However short the registration holds: an attempt and a wait fit in twice before it runs out.
        let retry_wait_max = RETRY_WAIT.1.min(announcement.ttl / 6).max(RETRY_WAIT.0);
        Self {
            announcement,
            meter,
            goals,
            standing,
            backoff: Backoff::new(RETRY_WAIT.0, retry_wait_max),
            warned: None,
            told: false,
            known: false,
            conflict_since: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut pulse = Pulse::new(self.announcement.clock.clone());
        while self.goals.has_changed().is_ok() {
            let goal = *self.goals.borrow_and_update();
            let next = match goal {
                Goal::Announced => self.register(&mut pulse).await,
                Goal::Withdrawn if self.standing.borrow().present => self.deregister().await,
                Goal::Withdrawn => Next::Rest,
            };
            match next {
                Next::AtOnce => {}
                Next::At(due) => self.wait(due, &mut pulse).await,
                Next::Rest => {
                    // Fails once the announcer is gone, which ends the loop.
                    let _ = self.goals.changed().await;
                }
                Next::End => return,
            }
        }
    }

    /// Registers or renews. There is never more than one attempt: a registry that hangs has no queue before it.
    async fn register(&mut self, pulse: &mut Pulse) -> Next {
        self.standing.send_modify(|standing| standing.present = true);
        let started = Instant::now();
        let limit = self.attempt_timeout();
        pulse.begin();
        let Announcement {
            registry, node, ttl, ..
        } = self.announcement.clone();
        let action = if self.known {
            Action::Renew
        } else {
            Action::Announce
        };
        let registering = async move { registry.register(&node, ttl).await };
        let Some(answer) = self.attempt(action, limit, registering).await else {
            return Next::AtOnce;
        };
        self.meter.asked(action, &answer);
        let next = match answer {
            Ok(()) => self.registered(started),
            Err(error) => self.failed(error),
        };
        // Whatever the answer says, it is of the time before this process stood still.
        if pulse.missed(limit) && next != Next::End {
            return Next::AtOnce;
        }
        next
    }

    async fn deregister(&mut self) -> Next {
        let Announcement { registry, node, .. } = self.announcement.clone();
        let withdrawing = async move { registry.deregister(&node).await };
        let answer = self
            .attempt(Action::Withdraw, WITHDRAW_TIMEOUT, withdrawing)
            .await;
        if let Some(answer) = &answer {
            self.meter.asked(Action::Withdraw, answer);
        }
        match answer {
            None => Next::AtOnce,
            Some(Ok(())) => {
                self.standing.send_modify(|standing| standing.present = false);
                self.meter.registered(false);
                self.backoff.reset();
                self.told = false;
                info!(node = self.announcement.node.id(), "withdrawn");
                Next::Rest
            }
            Some(Err(error)) => {
                let error = describe("withdraw", &self.announcement.node, error);
                self.warn(&error, "the node is still in the registry");
                Next::At(Instant::now() + self.backoff.next_wait())
            }
        }
    }

    /// Calls the registry in a task of its own, so that a panic of a backend is an error; `None` once the goal changed.
    async fn attempt(
        &mut self,
        action: Action,
        limit: Duration,
        call: impl Future<Output = micro_registry::Result<()>> + Send + 'static,
    ) -> Option<micro_registry::Result<()>> {
        let span = self.span(action);
        let mut task = Owned(tokio::spawn(call.instrument(span.clone())));
        let answer = tokio::select! {
            biased;
            _ = self.goals.changed() => return None,
            answer = time::timeout(limit, &mut task.0) => match answer {
                Ok(Ok(answer)) => answer,
                Ok(Err(panic)) => {
                    let error = RegistryError::new(RegistryErrorKind::Protocol, "the backend panicked");
                    Err(error.with_source(panic))
                }
                Err(_) => Err(no_answer(limit)),
            },
        };
        if let Err(error) = &answer {
            span.record("error.type", field::display(error.kind()));
            span.record("otel.status_code", "ERROR");
        }
        Some(answer)
    }

    /// The span of a call into the registry.
    fn span(&self, action: Action) -> Span {
        let Announcement { node, registry, .. } = &self.announcement;
        info_span!(
            parent: None,
            "registration",
            otel.status_code = Empty,
            error.type = Empty,
            micro.service = node.service().as_str(),
            micro.node.id = node.id(),
            micro.registry = registry.name(),
            micro.action = action.name(),
        )
    }

    /// The first registration has the registry's time; a renewal must leave time for another within the ttl.
    fn attempt_timeout(&self) -> Duration {
        let Announcement {
            ttl,
            registry_timeout,
            ..
        } = self.announcement;
        if self.known {
            registry_timeout.min((ttl / 3).max(RENEWAL_TIMEOUT_MIN))
        } else {
            registry_timeout
        }
    }

    fn registered(&mut self, started: Instant) -> Next {
        let Announcement {
            node, registry, ttl, ..
        } = &self.announcement;
        if !self.told {
            info!(
                service = %node.service(),
                node = node.id(),
                address = %node.address(),
                registry = registry.name(),
                "registered"
            );
        }
        let renewal = started + (*ttl / 3).mul_f64(1.0 - 0.2 * fastrand::f64());
        self.meter.registered(true);
        self.told = true;
        self.known = true;
        self.conflict_since = None;
        // Renewals are spread over a third of the ttl, and quick retries would only bring nodes together.
        let cap = RETRY_WAIT.1.min(*ttl / RETRY_SHARE).max(RETRY_WAIT.0);
        self.backoff = Backoff::steep(RETRY_WAIT.0, cap);
        self.standing.send_if_modified(|standing| {
            let changed = !standing.confirmed;
            standing.confirmed = true;
            changed
        });
        Next::At(renewal)
    }

    fn failed(&mut self, error: RegistryError) -> Next {
        let node = Arc::clone(&self.announcement.node);
        match error.kind() {
            RegistryErrorKind::InvalidArgument
            | RegistryErrorKind::Unauthenticated
            | RegistryErrorKind::PermissionDenied
                if !self.known =>
            {
                return self.refuse(attempted("register", &node), error);
            }
            RegistryErrorKind::Conflict => return self.conflict(error),
            _ => {}
        }
        let outcome = if self.standing.borrow().confirmed {
            "the registration could not be renewed; trying again"
        } else {
            "not registered, so not ready; trying again"
        };
        self.warn(&describe("register", &node, error), outcome);
        Next::At(Instant::now() + self.backoff.next_wait())
    }

    /// Another boot holds the id: our own old record, which goes with its ttl, or another node, which stays.
    fn conflict(&mut self, error: RegistryError) -> Next {
        let node = Arc::clone(&self.announcement.node);
        self.meter.registered(false);
        self.standing.send_modify(|standing| {
            standing.confirmed = false;
            standing.present = false;
        });
        let since = *self.conflict_since.get_or_insert_with(Instant::now);
        let patience = self.announcement.ttl * CONFLICT_TTLS;
        if since.elapsed() >= patience {
            let message = format!(
                "give up to register node `{}` of `{}`: another node has had this id for {patience:?}",
                node.id(),
                node.service()
            );
            return self.refuse(message, error);
        }
        self.warn(
            &describe("register", &node, error),
            "another node has this id, or this one's last start still has; not ready, trying again",
        );
        let wait = self.backoff.next_wait();
        Next::At((Instant::now() + wait).min(since + patience))
    }

    fn refuse(&mut self, message: String, cause: RegistryError) -> Next {
        self.meter.registered(false);
        self.standing.send_modify(|standing| {
            standing.confirmed = false;
            standing.present = false;
            standing.refused = Some(Refusal {
                message,
                cause: Arc::new(cause),
            });
        });
        Next::End
    }

    /// Waits until `due`, another goal, or the end of a time in which this process stood still.
    async fn wait(&mut self, due: Instant, pulse: &mut Pulse) {
        loop {
            let now = Instant::now();
            let wake = due.min(now + TICK);
            pulse.begin();
            tokio::select! {
                biased;
                _ = self.goals.changed() => return,
                () = time::sleep_until(wake) => {}
            }
            if pulse.missed(wake.saturating_duration_since(now)) {
                info!(
                    node = self.announcement.node.id(),
                    "stood still for a while; telling the registry at once"
                );
                return;
            }
            if Instant::now() >= due {
                return;
            }
        }
    }

    /// Warns at once, and then now and then.
    fn warn(&mut self, error: &Error, outcome: &str) {
        if self
            .warned
            .is_some_and(|warned| warned.elapsed() < WARNING_INTERVAL)
        {
            return;
        }
        self.warned = Some(Instant::now());
        self.told = false;
        let registry = self.announcement.registry.name();
        warn!(registry, error = format!("{error:#}"), "{outcome}");
    }
}
