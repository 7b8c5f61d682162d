//! What a service tells of its registration.

use metrics::{Counter, Gauge, Unit};

use crate::telemetry::{Metric, Telemetry};

const REGISTERED: Metric = Metric {
    name: "micro.service.registered",
    unit: Unit::Count,
    help: "1 while the registry has the node as far as is known, else 0.",
};

const REGISTRATIONS: Metric = Metric {
    name: "micro.service.registrations",
    unit: Unit::Count,
    help: "Calls into the registry for the own node, by what was asked for and what came of it.",
};

/// What is asked of the registry.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Announce,
    Renew,
    Withdraw,
}

/// The actions as labels, in the order of the enum.
const ACTIONS: [&str; 3] = ["announce", "renew", "withdraw"];

impl Action {
    /// The action as a label.
    pub(super) fn name(self) -> &'static str {
        ACTIONS[self as usize]
    }
}

/// Counts what is asked of the registry, and what it answers.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    registered: Gauge,
    /// By action, and by whether it failed.
    asked: [[Counter; 2]; 3],
}

impl Meter {
    pub(super) fn new(telemetry: &Telemetry, registry: &str) -> Self {
        let asked = |action| {
            ["ok", "failed"].map(|outcome| {
                let labels = [
                    ("micro.registry", registry),
                    ("micro.action", action),
                    ("micro.outcome", outcome),
                ];
                telemetry.counter(REGISTRATIONS, &labels)
            })
        };
        Self {
            registered: telemetry.gauge(REGISTERED, &[("micro.registry", registry)]),
            asked: ACTIONS.map(asked),
        }
    }

    /// The registry has answered, or has not in time.
    pub(super) fn asked<T, E>(&self, action: Action, answer: &Result<T, E>) {
        self.asked[action as usize][usize::from(answer.is_err())].increment(1);
    }

    /// The registry has the node, or has it no longer.
    pub(super) fn registered(&self, is_registered: bool) {
        self.registered.set(f64::from(u8::from(is_registered)));
    }
}
