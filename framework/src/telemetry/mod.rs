//! What the framework counts and times, in a recorder that its service or client owns, and the text that `/metrics` is.

#![allow(
    dead_code,
    unused_imports,
    reason = "server and client record, and not each of them everything"
)]

mod durations;
#[cfg(feature = "otel")]
mod names;
#[cfg(feature = "otel")]
mod otlp;
pub(crate) mod trace;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use metrics::{Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use tokio::time::{Duration, MissedTickBehavior, interval};

pub(crate) use self::durations::{CLIENT_CALL, Durations, SERVER_CALL, code_name, is_fault};
#[cfg(feature = "otel")]
pub(crate) use self::names::Names;
#[cfg(feature = "otel")]
pub use self::otlp::Otlp;

/// The end of the name of whatever is a duration.
const DURATION: &str = "duration";

/// Upper ends of the buckets of a duration, in seconds: those that OpenTelemetry advises for calls, with two more below,
/// as calls within one network take less than the least of them.
const DURATION_BUCKETS: [f64; 16] = [
    0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];

/// How often what was recorded is put into its buckets; until then each value of a histogram takes eight bytes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// A metric: OpenTelemetry's name for it where there is one, and `micro.` before all others. Prometheus reads `.` as `_`,
/// and finds the unit, and `total`, at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// One sentence.
    pub(crate) help: &'static str,
}

/// A label's name, and its value. Values from outside are taken only from a bounded set: each one is a series for ever.
pub(crate) type Labels<'l> = &'l [(&'static str, &'l str)];

/// What is counted and timed. Clones share.
///
/// A service has one of its own, which it shares with its server and its client and tells under `/metrics`. A client that
/// belongs to no service is given one by [`ClientBuilder::telemetry`](crate::ClientBuilder::telemetry):
///
/// ```
/// use std::sync::Arc;
/// use micro::{Client, Telemetry, registry::Static};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let telemetry = Telemetry::new();
/// let registry: Static = "greeter=127.0.0.1:9090".parse()?;
/// let client = Client::builder(Arc::new(registry)).telemetry(&telemetry).build()?;
/// let text = telemetry.render(); // for a page of the program's own, or a file
/// # Ok(())
/// # }
/// ```
// Handles are asked for once and kept: asking looks the labels up, recording does not.
#[derive(Clone)]
pub struct Telemetry {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
    observers: Arc<Mutex<Vec<Observer>>>,
    #[cfg(feature = "otel")]
    names: Arc<Mutex<Names>>,
}

/// Sets gauges to what they are at this moment; `false` once there is nothing more to observe.
type Observer = Box<dyn Fn() -> bool + Send + Sync>;

impl Telemetry {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .with_recommended_naming(true)
            .set_buckets_for_metric(Matcher::Suffix(DURATION.to_owned()), &DURATION_BUCKETS)
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        Self {
            handle: recorder.handle(),
            recorder: Arc::new(recorder),
            observers: Arc::default(),
            #[cfg(feature = "otel")]
            names: Arc::default(),
        }
    }

    /// What only grows.
    pub(crate) fn counter(&self, metric: Metric, labels: Labels<'_>) -> Counter {
        self.recorder
            .describe_counter(metric.name.into(), Some(metric.unit), metric.help.into());
        self.recorder
            .register_counter(&self.key(metric, labels), &METADATA)
    }

    /// What goes up and down.
    pub(crate) fn gauge(&self, metric: Metric, labels: Labels<'_>) -> Gauge {
        self.recorder
            .describe_gauge(metric.name.into(), Some(metric.unit), metric.help.into());
        self.recorder.register_gauge(&self.key(metric, labels), &METADATA)
    }

    /// What is spread; in buckets if its name ends in `duration`, and then in seconds.
    pub(crate) fn histogram(&self, metric: Metric, labels: Labels<'_>) -> Histogram {
        self.recorder
            .describe_histogram(metric.name.into(), Some(metric.unit), metric.help.into());
        self.recorder
            .register_histogram(&self.key(metric, labels), &METADATA)
    }

    fn key(&self, metric: Metric, labels: Labels<'_>) -> Key {
        #[cfg(feature = "otel")]
        self.names
            .lock()
            .expect("no panic while it is locked")
            .add(metric, labels);
        let labels: Vec<Label> = labels
            .iter()
            .map(|&(name, value)| Label::new(name, value.to_owned()))
            .collect();
        Key::from_parts(metric.name, labels)
    }

    /// What metrics and labels were called when they were asked for.
    #[cfg(feature = "otel")]
    pub(crate) fn names(&self) -> Names {
        self.names.lock().expect("no panic while it is locked").clone()
    }

    /// Asks `observer` before each rendering, so that it sets gauges that would cost too much to keep.
    pub(crate) fn observe(&self, observer: impl Fn() + Send + Sync + 'static) {
        self.observe_while(move || {
            observer();
            true
        });
    }

    /// Asks `observer` before each rendering, until it says that there is nothing more to observe.
    pub(crate) fn observe_while(&self, observer: impl Fn() -> bool + Send + Sync + 'static) {
        let mut observers = self.observers.lock().expect("no panic while it is locked");
        observers.push(Box::new(observer));
    }

    /// Everything recorded so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        if let Ok(mut observers) = self.observers.lock() {
            observers.retain(|observer| observer());
        }
        self.handle.render()
    }

    /// Keeps the memory of histograms bounded; whoever owns the recorder runs this on the control runtime.
    pub(crate) async fn keep_up(self) {
        let mut ticks = interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.handle.run_upkeep();
        }
    }
}

const METADATA: Metadata<'static> = Metadata::new("micro", Level::INFO, None);

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Metric = Metric {
        name: "micro.test.refused",
        unit: Unit::Count,
        help: "What a test refused.",
    };
    const OPEN: Metric = Metric {
        name: "micro.test.open",
        unit: Unit::Count,
        help: "What a test has open.",
    };
    const TEST_DURATION: Metric = Metric {
        name: "micro.test.duration",
        unit: Unit::Seconds,
        help: "How long a test took.",
    };

    #[test]
    fn what_is_recorded_is_rendered_as_prometheus_reads_it() {
        let telemetry = Telemetry::new();
        telemetry
            .counter(REFUSED, &[("micro.reason", "a \"b\"")])
            .increment(2);
        telemetry.gauge(OPEN, &[]).set(3.0);
        telemetry.histogram(TEST_DURATION, &[]).record(0.02);
        let text = telemetry.render();
        for line in [
            "# HELP micro_test_refused_total What a test refused.",
            "# TYPE micro_test_refused_total counter",
            "micro_test_refused_total{micro_reason=\"a \\\"b\\\"\"} 2",
            "micro_test_open 3",
            "# TYPE micro_test_duration_seconds histogram",
            "micro_test_duration_seconds_bucket{le=\"0.01\"} 0",
            "micro_test_duration_seconds_bucket{le=\"0.025\"} 1",
            "micro_test_duration_seconds_count 1",
        ] {
            assert!(
                text.lines().any(|rendered| rendered == line),
                "{line}\nis not in\n{text}"
            );
        }
    }

    #[test]
    fn two_recorders_share_nothing_and_clones_share_everything() {
        let (one, other) = (Telemetry::new(), Telemetry::new());
        one.clone().counter(REFUSED, &[]).increment(1);
        assert!(one.render().contains("micro_test_refused_total 1"));
        assert!(other.render().is_empty());
    }

    #[test]
    fn an_observer_is_asked_before_each_rendering() {
        let telemetry = Telemetry::new();
        let gauge = telemetry.gauge(OPEN, &[]);
        telemetry.observe(move || gauge.increment(1.0));
        let _ = telemetry.render();
        assert!(telemetry.render().contains("micro_test_open 2"));
    }
}
