//! What a client counts, service by service: handles that are made once, and cost next to nothing while nobody records.

mod calls;
mod gauges;

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use metrics::Counter;
use micro_registry::ServiceName;

use self::{calls::Calls, gauges::Gauges};
use super::{
    metrics::{ATTEMPTS, BUDGET_EXHAUSTED, EJECTIONS, FAILED_CONNECTIONS, OPENED_CONNECTIONS, WAITS},
    target::Shared,
};
use crate::{
    control::{Control, Owned},
    telemetry::{Durations, Metric, Telemetry},
};

/// How many services have series of their own; the others share theirs.
const SERVICES_MAX: usize = 256;
/// What the others are called.
const OTHER: &str = "_OTHER";

/// Why a connection could not be made, as a label.
const CONNECT_FAILURES: [&str; 6] = [
    "refused",
    "timed_out",
    "not_allowed",
    "not_http2",
    "closed",
    "other",
];

/// Where a client records.
#[derive(Debug)]
pub(super) enum Recorder {
    Nobody,
    /// The service that the client belongs to keeps it up.
    OfService(Telemetry),
    Own(Telemetry),
}

/// The meters of a client. Those of a service stay when nobody uses it any more: its counters go on, if it comes back.
#[derive(Debug, Default)]
pub(super) struct Meters {
    recording: Option<Recording>,
}

#[derive(Debug)]
struct Recording {
    telemetry: Telemetry,
    registry: &'static str,
    by_service: Arc<Mutex<BTreeMap<String, Arc<Meter>>>>,
    /// Keeps the recorder's memory bounded.
    _upkeep: Option<Owned<()>>,
}

impl Meters {
    /// Meters that record there.
    pub(super) fn new(recorder: Recorder, registry: &'static str, control: &Control) -> Self {
        let (telemetry, upkeep) = match recorder {
            Recorder::Nobody => (None, None),
            Recorder::OfService(telemetry) => (Some(telemetry), None),
            Recorder::Own(telemetry) => {
                let upkeep = control.spawn(telemetry.clone().keep_up());
                (Some(telemetry), Some(upkeep))
            }
        };
        let recording = telemetry.map(|telemetry| {
            let by_service = Arc::<Mutex<BTreeMap<String, Arc<Meter>>>>::default();
            let known = Arc::downgrade(&by_service);
            telemetry.observe_while(move || {
                let Some(known) = known.upgrade() else {
                    return false;
                };
                let meters = known.lock().expect("no panic while the meters are locked");
                meters.values().for_each(|meter| meter.observe());
                true
            });
            Recording {
                telemetry,
                registry,
                by_service,
                _upkeep: upkeep,
            }
        });
        Self { recording }
    }

    /// The meter of `service`; of all the others, once there are many.
    pub(super) fn get(&self, service: &ServiceName) -> Arc<Meter> {
        let Some(recording) = &self.recording else {
            return Arc::default();
        };
        let mut known = recording.by_service.lock();
        let known = known.as_mut().expect("no panic while the meters are locked");
        let service = match service.as_str() {
            new if !known.contains_key(new) && known.len() >= SERVICES_MAX => OTHER,
            service => service,
        };
        let new = || Arc::new(Meter::new(&recording.telemetry, service, recording.registry));
        Arc::clone(known.entry(service.to_owned()).or_insert_with(new))
    }
}

/// What a client counts of one service. The default one counts nothing.
#[derive(Debug)]
pub(super) struct Meter {
    calls: Option<Calls>,
    attempts: [Counter; 4],
    pub(super) budget_exhausted: Counter,
    waits: [Counter; 3],
    pub(super) ejections: Counter,
    pub(super) opened_connections: Counter,
    failed_connections: [Counter; CONNECT_FAILURES.len()],
    gauges: Option<Gauges>,
}

/// What made an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// The call itself.
    Call,
    /// The one before certainly did not run.
    Unsent,
    /// The one before failed, and perhaps ran.
    Failed,
    /// The one before is late.
    Hedge,
}

/// What came of waiting for a node.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waited {
    /// One was found.
    Found,
    /// It was of no use: there is none, or all have refused.
    Nobody,
    /// The time was over, or nobody waits for the answer any more.
    GivenUp,
}

impl Waited {
    const ALL: [Self; 3] = [Self::Found, Self::Nobody, Self::GivenUp];

    /// As a label.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Nobody => "nobody",
            Self::GivenUp => "given_up",
        }
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::with(|_, _| Counter::noop(), None, None)
    }
}

impl Meter {
    fn new(telemetry: &Telemetry, service: &str, registry: &str) -> Self {
        let counter = |metric, more: Option<(&'static str, &str)>| {
            let labels: Vec<_> = [("micro.service", service)].into_iter().chain(more).collect();
            telemetry.counter(metric, &labels)
        };
        let calls = Calls::new(telemetry, service);
        Self::with(
            counter,
            Some(calls),
            Some(Gauges::new(telemetry, service, registry)),
        )
    }

    fn with<'l>(
        counter: impl Fn(Metric, Option<(&'static str, &'l str)>) -> Counter,
        calls: Option<Calls>,
        gauges: Option<Gauges>,
    ) -> Self {
        let attempts = |cause| counter(ATTEMPTS, Some(("micro.cause", cause)));
        let waits = |outcome: Waited| counter(WAITS, Some(("micro.outcome", outcome.name())));
        let failures = |reason| counter(FAILED_CONNECTIONS, Some(("micro.reason", reason)));
        Self {
            calls,
            // In the order of the enums.
            attempts: ["call", "unsent", "failed", "hedge"].map(attempts),
            waits: Waited::ALL.map(waits),
            budget_exhausted: counter(BUDGET_EXHAUSTED, None),
            ejections: counter(EJECTIONS, None),
            opened_connections: counter(OPENED_CONNECTIONS, None),
            failed_connections: CONNECT_FAILURES.map(failures),
            gauges,
        }
    }

    /// The durations of the calls of this path; `None` while nobody records.
    pub(super) fn durations(&self, path: &str) -> Option<Arc<Durations>> {
        self.calls.as_ref().map(|calls| calls.durations(path))
    }

    /// A call is sent to a node.
    pub(super) fn attempt(&self, cause: Cause) {
        self.attempts[cause as usize].increment(1);
    }

    /// A call has waited for a node.
    pub(super) fn waited(&self, outcome: Waited) {
        self.waits[outcome as usize].increment(1);
    }

    /// A connection could not be made.
    pub(super) fn connect_failed(&self, error: &io::Error) {
        self.failed_connections[connect_failure_index(error)].increment(1);
    }

    /// The registry has said which nodes there are, or why it does not.
    pub(super) fn discovered(&self, failing: bool) {
        if let Some(gauges) = &self.gauges {
            gauges.discovered(failing);
        }
    }

    /// Tells, from now on and for as long as it lives, what calls pick from there.
    pub(super) fn watch(&self, shared: &Arc<Shared>) {
        if let Some(gauges) = &self.gauges {
            gauges.watch(shared);
        }
    }

    fn observe(&self) {
        if let Some(gauges) = &self.gauges {
            gauges.observe();
        }
    }
}

/// Why a connection could not be made, as a label.
pub(super) fn connect_failure(error: &io::Error) -> &'static str {
    CONNECT_FAILURES[connect_failure_index(error)]
}

fn connect_failure_index(error: &io::Error) -> usize {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => 0,
        io::ErrorKind::TimedOut => 1,
        io::ErrorKind::PermissionDenied => 2,
        io::ErrorKind::InvalidData => 3,
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meters(telemetry: &Telemetry) -> Meters {
        let control = Control::on(tokio::runtime::Handle::current());
        Meters::new(Recorder::OfService(telemetry.clone()), "memory", &control)
    }

    fn service(name: &str) -> ServiceName {
        name.parse().unwrap()
    }

    #[tokio::test]
    async fn a_service_keeps_its_meter_and_one_too_many_shares_another() {
        let telemetry = Telemetry::new();
        let meters = meters(&telemetry);
        let greeter = meters.get(&service("greeter"));
        for number in 0..SERVICES_MAX {
            meters.get(&service(&format!("s{number}")));
        }
        assert!(Arc::ptr_eq(&greeter, &meters.get(&service("greeter"))));
        let [one, two] = ["one", "two"].map(|name| meters.get(&service(name)));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &greeter));
        assert!(
            telemetry
                .render()
                .contains("micro_client_ejections_total{micro_service=\"_OTHER\"} 0")
        );
        assert!(!telemetry.render().contains("micro_service=\"two\""));
    }

    #[tokio::test]
    async fn what_is_told_ends_with_the_client() {
        let telemetry = Telemetry::new();
        let meters = meters(&telemetry);
        let (meter, shared) = (meters.get(&service("greeter")), Arc::default());
        meter.watch(&shared);
        meter.discovered(true);
        let failing = "micro_client_discovery_failing{micro_service=\"greeter\",micro_registry=\"memory\"}";
        assert!(telemetry.render().contains(&format!("{failing} 1")));
        drop(shared);
        assert!(telemetry.render().contains(&format!("{failing} 0")));
        let alive = Arc::downgrade(&meters.recording.as_ref().unwrap().by_service);
        drop(meters);
        assert!(alive.upgrade().is_none());
    }

    #[test]
    fn nothing_is_counted_where_nobody_records() {
        let meter = Meters::default().get(&service("greeter"));
        assert!(meter.durations("/greeter.Say/Hello").is_none());
        meter.attempt(Cause::Call);
        meter.discovered(false);
    }
}
