//! Keeps a node announced, on the control runtime: registers it, renews it, and takes it out while it is not wanted.

mod metrics;
mod task;

use std::{sync::Arc, time::Duration};

use micro_registry::{Error as RegistryError, ErrorKind as RegistryErrorKind, Node, Registry};
use tokio::{sync::watch, time};
use tracing::warn;

use self::{
    metrics::{Action, Meter},
    task::Announcing,
};
use super::pulse::WallClock;
use crate::{
    Error, ErrorKind,
    control::{Control, Owned},
    telemetry::Telemetry,
};

/// How long taking the node out may take; what is left of it ends with its ttl.
pub(crate) const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(2);

/// What to announce, where, and in which time.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    pub(crate) registry: Arc<dyn Registry>,
    pub(crate) node: Arc<Node>,
    pub(crate) ttl: Duration,
    pub(crate) registry_timeout: Duration,
    pub(crate) clock: WallClock,
    pub(crate) telemetry: Telemetry,
}

/// What the registry is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Announced,
    Withdrawn,
}

/// What is known of the node in the registry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The registry took the node once, and no other boot has taken its id since. An outage does not change it.
    pub(crate) confirmed: bool,
    /// Something of ours may stand there: an attempt was begun, and nothing has taken it back.
    pub(crate) present: bool,
    /// Why it is of no use to try any more.
    pub(crate) refused: Option<Refusal>,
}

/// Why a registration was given up.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    message: String,
    cause: Arc<RegistryError>,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(ErrorKind::Registry, refusal.message).with_source(refusal.cause)
    }
}

/// Announces a node until it is dropped or told to withdraw.
#[derive(Debug)]
pub(crate) struct Announcer {
    // First, so that it is stopped before what it listens to is gone.
    task: Owned<()>,
    announcement: Announcement,
    meter: Meter,
    control: Control,
    goals: watch::Sender<Goal>,
    standing: watch::Receiver<Standing>,
}

impl Announcer {
    /// Starts, with the node not wanted yet.
    pub(crate) fn start(announcement: Announcement, control: Control) -> Self {
        let (goals, wanted) = watch::channel(Goal::Withdrawn);
        let (publish, standing) = watch::channel(Standing::default());
        let meter = Meter::new(&announcement.telemetry, announcement.registry.name());
        let announcing = Announcing::new(announcement.clone(), meter.clone(), wanted, publish);
        Self {
            task: control.spawn(announcing.run()),
            announcement,
            meter,
            control,
            goals,
            standing,
        }
    }

    /// Says what the registry is to have. What is under way for another goal is dropped.
    pub(crate) fn aim(&self, goal: Goal) {
        self.goals.send_if_modified(|last| {
            let changed = *last != goal;
            *last = goal;
            changed
        });
    }

    /// What is known of the node, now and later.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
    }

    /// Takes the node out for good, in at most [`WITHDRAW_TIMEOUT`]; a failure is a warning, as the ttl does the rest.
    pub(crate) async fn withdraw(mut self) {
        let node = Arc::clone(&self.announcement.node);
        let registry = Arc::clone(&self.announcement.registry);
        let withdrawal = async {
            // A registration under way must not arrive after the withdrawal.
            self.task.0.abort();
            let _ = (&mut self.task.0).await;
            if !self.standing.borrow().present {
                return None;
            }
            let node = Arc::clone(&node);
            let call = self.control.call(async move { registry.deregister(&node).await });
            Some(call.await)
        };
        let answer = time::timeout(WITHDRAW_TIMEOUT, withdrawal).await;
        let answer = answer.unwrap_or_else(|_| Some(Err(no_answer(WITHDRAW_TIMEOUT))));
        self.meter.registered(false);
        let Some(answer) = answer else { return };
        self.meter.asked(Action::Withdraw, &answer);
        if let Err(error) = answer {
            let error = describe("withdraw", &node, error);
            warn!(
                registry = self.announcement.registry.name(),
                error = format!("{error:#}"),
                "the node stays in the registry until its ttl has passed"
            );
        }
    }
}

fn attempted(what: &str, node: &Node) -> String {
    format!("{what} node `{}` of `{}`", node.id(), node.service())
}

fn describe(what: &str, node: &Node, error: RegistryError) -> Error {
    Error::new(ErrorKind::Registry, attempted(what, node)).with_source(error)
}

fn no_answer(limit: Duration) -> RegistryError {
    RegistryError::new(
        RegistryErrorKind::Unavailable,
        format!("no answer within {limit:?}"),
    )
}

#[cfg(test)]
mod tests;
