//! How loaded an endpoint looks from here: its latency times its calls in flight.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

/// How fast an old latency is forgotten: after this time without an answer it counts half.
const DECAY: Duration = Duration::from_secs(10);
/// The share by which one answer moves a falling estimate at least, so that one slow answer is soon outweighed.
const SAMPLE_SHARE: f64 = 1.0 / 8.0;
/// Latencies below this say more about the scheduler than about the server.
const NOISE: Duration = Duration::from_millis(5);

/// The load of one endpoint: peak EWMA of latency times calls in flight, as Finagle's balancer has it.
///
/// Updated without a lock: two answers at the same moment may lose one sample, which the next one makes up for.
#[derive(Debug)]
pub(super) struct Load {
    epoch: Instant,
    in_flight: AtomicU32,
    latency_ns: AtomicU64,
    updated_ns: AtomicU64,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            in_flight: AtomicU32::new(0),
            latency_ns: AtomicU64::new(0),
            updated_ns: AtomicU64::new(0),
        }
    }

    pub(super) fn started(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Takes in how long an answer took: a slower one at once, a faster one by and by.
    pub(super) fn answered(&self, latency: Duration, now: Instant) {
        let sample = latency.as_nanos() as f64;
        let estimate = self.latency_ns.load(Ordering::Relaxed) as f64;
        let decayed = self.decayed(estimate, now);
        let next = if sample > decayed {
            sample
        } else {
            decayed + (sample - decayed) * SAMPLE_SHARE
        };
        self.latency_ns.store(next as u64, Ordering::Relaxed);
        self.updated_ns.store(self.since_epoch(now), Ordering::Relaxed);
    }

    /// What one more call would find: comparable between endpoints, of no unit.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let estimate = self.decayed(self.latency_ns.load(Ordering::Relaxed) as f64, now);
        (estimate + NOISE.as_nanos() as f64) * f64::from(self.in_flight() + 1)
    }

    /// Hyperbolic rather than exponential: half after `DECAY`, and no `exp` on the path of a call.
    fn decayed(&self, estimate: f64, now: Instant) -> f64 {
        let idle = self
            .since_epoch(now)
            .saturating_sub(self.updated_ns.load(Ordering::Relaxed)) as f64;
        let decay = DECAY.as_nanos() as f64;
        estimate * decay / (decay + idle)
    }

    fn since_epoch(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_at_once_and_fast_ones_outweigh_it() {
        let load = Load::new();
        let idle = load.cost(Instant::now());
        load.answered(millis(100), Instant::now());
        assert!(load.cost(Instant::now()) > 20.0 * idle);
        for _ in 0..40 {
            load.answered(millis(1), Instant::now());
        }
        assert!(load.cost(Instant::now()) < 1.5 * idle);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_multiply_the_cost() {
        let load = Load::new();
        let idle = load.cost(Instant::now());
        load.started();
        load.started();
        assert!((load.cost(Instant::now()) - 3.0 * idle).abs() < 1.0);
        load.ended();
        load.ended();
        assert_eq!(load.in_flight(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_nobody_calls_is_forgiven() {
        let load = Load::new();
        load.answered(millis(1000), Instant::now());
        let before = load.cost(Instant::now());
        time::advance(DECAY).await;
        let after = load.cost(Instant::now());
        assert!((after / before - 0.5).abs() < 0.01, "{before} {after}");
    }
}
