//! What is told of a failure that goes on: at once, and then now and then.

use std::sync::{Arc, Mutex};

use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};

use super::*;

/// When each warning of this thread came.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<Instant>>>);

/// Warnings are heard until it is dropped.
struct Listening {
    _heard: DefaultGuard,
    /// With a second subscriber, a warning that another test's thread is the first to reach asks all of them whether it is
    /// wanted; with one alone it asks that thread's, which is none, and nobody hears it from then on.
    _second: tracing::Dispatch,
}

impl Warnings {
    fn listen() -> (Self, Listening) {
        let warnings = Self::default();
        let listening = Listening {
            _second: tracing::Dispatch::new(warnings.clone()),
            _heard: tracing::subscriber::set_default(warnings.clone()),
        };
        (warnings, listening)
    }

    fn times(&self) -> Vec<Instant> {
        self.0.lock().unwrap().clone()
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, _event: &Event<'_>) {
        self.0.lock().unwrap().push(Instant::now());
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_warned_of_at_once_and_then_at_most_every_ten_seconds() {
    for act in [UNAVAILABLE, Act::Hang] {
        let (warnings, _listening) = Warnings::listen();
        let registry = Scripted::new([]);
        let announcer = announce(&registry);
        at_rest(&announcer).await;
        registry.always(act);
        let failing = Instant::now();
        time::sleep(Duration::from_secs(600)).await;
        let times = warnings.times();
        // The next renewal and its timeout.
        assert!(times[0] - failing <= TTL / 3 + REGISTRY_TIMEOUT, "{times:?}");
        assert!(
            gaps(&times).iter().all(|gap| *gap >= Duration::from_secs(10)),
            "{times:?}"
        );
        assert!((30..=60).contains(&times.len()), "{} warnings", times.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_at_start_and_a_conflict_are_warned_of_at_once() {
    for act in [UNAVAILABLE, CONFLICT] {
        let (warnings, _listening) = Warnings::listen();
        let registry = Scripted::new([]);
        registry.always(act);
        let started = Instant::now();
        let _announcer = announce(&registry);
        time::sleep(Duration::from_secs(9)).await;
        let times = warnings.times();
        assert_eq!(times.len(), 1);
        assert!(times[0] - started < Duration::from_millis(10), "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_life_without_failures_warns_of_nothing() {
    let (warnings, _listening) = Warnings::listen();
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    time::sleep(10 * TTL).await;
    announcer.withdraw().await;
    assert!(warnings.times().is_empty());
}
