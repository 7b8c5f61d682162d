//! How loaded an endpoint looks from here: its latency times its calls in flight.

use std::time::Duration;

use tokio::time::Instant;

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How fast an old latency is forgotten: after this time without an answer it counts half.
const HALF_LIFE: Duration = Duration::from_secs(5);
const HALF_LIFE_NS: u64 = HALF_LIFE.as_nanos() as u64;
/// The share by which one answer moves a falling estimate at least, so that one slow answer is soon outweighed.
const SAMPLE_SHARE: f64 = 1.0 / 8.0;
/// How an `f64` has a power of two (IEEE 754).
const EXPONENT_OF_ONE: u64 = 1023;
const MANTISSA_BITS: u64 = 52;
/// Latencies below this say more about the scheduler than about the server.
const NOISE: Duration = Duration::from_millis(5);
/// Means have to differ by more than this to count as much as calls in flight do.
const MEAN_NOISE: Duration = Duration::from_millis(20);
/// What a failure counts as at least: a server that fails fast must not look like a fast one.
const FAILED_AS: Duration = Duration::from_secs(1);

/// One call that waits for its answer, in the upper half of [`Load::calls`].
const WAITING: u64 = 1 << 32;
/// The lower half of it: the calls in flight.
const IN_FLIGHT: u64 = WAITING - 1;

/// The load of one endpoint: latency times calls in flight, as Finagle's balancer by peak EWMA has it, with the mean of
/// the latency as one more factor. While calls wait and none is answered, the time that this goes on for counts as a latency.
///
/// Updated without a lock: two answers at the same moment may lose one sample, which the next one makes up for.
#[derive(Debug)]
pub(super) struct Load {
    epoch: Instant,
    calls: AtomicU64,
    latency_ns: Nanoseconds,
    /// The mean of late, of which a single slow answer is only a share.
    mean_ns: Nanoseconds,
    /// When they were last changed.
    updated_ns: AtomicU64,
    /// When a call was answered last.
    answered_ns: AtomicU64,
    /// When the first of the calls that wait began to wait.
    waiting_since_ns: AtomicU64,
}

/// A time in nanoseconds, in half of the bytes: seven digits of it, which is more than anyone can tell.
#[derive(Debug)]
struct Nanoseconds(AtomicU32);

impl Nanoseconds {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn get(&self) -> f64 {
        f64::from(f32::from_bits(self.0.load(Ordering::Relaxed)))
    }

    fn set(&self, ns: f64) {
        self.0.store((ns as f32).to_bits(), Ordering::Relaxed);
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            calls: AtomicU64::new(0),
            latency_ns: Nanoseconds::new(),
            mean_ns: Nanoseconds::new(),
            updated_ns: AtomicU64::new(0),
            answered_ns: AtomicU64::new(0),
            waiting_since_ns: AtomicU64::new(0),
        }
    }

    /// Counts a call that waits for its answer from now on.
    pub(super) fn started(&self, now: Instant) {
        let before = self.calls.fetch_add(WAITING + 1, Ordering::Relaxed);
        if before < WAITING {
            self.waiting_since_ns
                .store(self.since_epoch(now), Ordering::Relaxed);
        }
    }

    /// Takes in how long an answer took: a slower one at once, a faster one by and by.
    pub(super) fn answered(&self, latency: Duration, now: Instant) {
        self.calls.fetch_sub(WAITING, Ordering::Relaxed);
        let at_ns = self.since_epoch(now);
        self.answered_ns.store(at_ns, Ordering::Relaxed);
        let (sample, decayed) = (latency.as_nanos() as f64, self.estimate(&self.latency_ns, at_ns));
        let next = if sample > decayed {
            sample
        } else {
            decayed + (sample - decayed) * SAMPLE_SHARE
        };
        self.set(next, sample, at_ns);
    }

    /// Takes in that a call failed, which took `latency`.
    pub(super) fn failed(&self, latency: Duration, now: Instant) {
        self.at_least(latency.max(FAILED_AS), now);
    }

    /// Forgets a call that was answered.
    pub(super) fn ended(&self) {
        self.calls.fetch_sub(1, Ordering::Relaxed);
    }

    /// Forgets a call that got no answer for as long as it waited.
    pub(super) fn abandoned(&self, waited: Duration, now: Instant) {
        self.calls.fetch_sub(WAITING + 1, Ordering::Relaxed);
        self.at_least(waited, now);
    }

    pub(super) fn in_flight(&self) -> u32 {
        // The mask leaves 32 bits.
        (self.calls.load(Ordering::Relaxed) & IN_FLIGHT) as u32
    }

    /// How long an answer takes at present: as the last ones did, or at least as long as one has been waited for.
    pub(super) fn latency(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.latency_ns(now) as u64)
    }

    /// How long answers have taken of late in the mean, or at least as long as one has been waited for.
    pub(super) fn mean_latency(&self, now: Instant) -> Duration {
        let at_ns = self.since_epoch(now);
        let mean = self.estimate(&self.mean_ns, at_ns);
        Duration::from_nanos(mean.max(self.silence(at_ns)) as u64)
    }

    /// What one more call would find: comparable between endpoints, of no unit. The mean latency counts beside the latest:
    /// a server that is ten times as slow must not get the call that goes to the fourth of those in flight elsewhere, which
    /// a server may well do all at once, while one slow answer is no reason to stay away.
    pub(super) fn cost(&self, now: Instant) -> f64 {
        let at_ns = self.since_epoch(now);
        let silence = self.silence(at_ns);
        let latency = self.estimate(&self.latency_ns, at_ns).max(silence) + NOISE.as_nanos() as f64;
        let mean = self.estimate(&self.mean_ns, at_ns).max(silence) + MEAN_NOISE.as_nanos() as f64;
        latency * mean * f64::from(self.in_flight() + 1)
    }

    fn latency_ns(&self, now: Instant) -> f64 {
        let at_ns = self.since_epoch(now);
        self.estimate(&self.latency_ns, at_ns).max(self.silence(at_ns))
    }

    /// Whether no call was answered after `instant`.
    pub(super) fn is_silent_since(&self, instant: Instant) -> bool {
        self.answered_ns.load(Ordering::Relaxed) < self.since_epoch(instant)
    }

    /// For how long calls have waited while none was answered, in nanoseconds.
    fn silence(&self, at_ns: u64) -> f64 {
        if self.calls.load(Ordering::Relaxed) < WAITING {
            return 0.0;
        }
        let updated = self.updated_ns.load(Ordering::Relaxed);
        let since = updated.max(self.waiting_since_ns.load(Ordering::Relaxed));
        at_ns.saturating_sub(since) as f64
    }

    fn at_least(&self, latency: Duration, now: Instant) {
        let (sample, at_ns) = (latency.as_nanos() as f64, self.since_epoch(now));
        if sample > self.estimate(&self.latency_ns, at_ns) {
            self.set(sample, sample, at_ns);
        }
    }

    /// Sets the latency, and takes `sample` into the mean.
    fn set(&self, latency_ns: f64, sample: f64, at_ns: u64) {
        let mean = match self.estimate(&self.mean_ns, at_ns) {
            // The first one, or the first after a long while.
            mean if mean < 1.0 => sample,
            mean => mean + (sample - mean) * SAMPLE_SHARE,
        };
        self.latency_ns.set(latency_ns);
        self.mean_ns.set(mean);
        self.updated_ns.store(at_ns, Ordering::Relaxed);
    }

    /// The last latency, halved for each half-life since, and less by a straight line in between: no `exp` on the path
    /// of a call.
    fn estimate(&self, latency: &Nanoseconds, at_ns: u64) -> f64 {
        let idle = at_ns.saturating_sub(self.updated_ns.load(Ordering::Relaxed));
        let (halves, rest) = (idle / HALF_LIFE_NS, idle % HALF_LIFE_NS);
        // Two to the power of minus `halves`: nothing but an exponent.
        let halved = f64::from_bits((EXPONENT_OF_ONE - halves.min(EXPONENT_OF_ONE)) << MANTISSA_BITS);
        latency.get() * halved * (1.0 - rest as f64 * (0.5 / HALF_LIFE_NS as f64))
    }

    /// In nanoseconds.
    fn since_epoch(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.epoch);
        let seconds_ns = since.as_secs().saturating_mul(1_000_000_000);
        seconds_ns.saturating_add(u64::from(since.subsec_nanos()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// Calls that are answered after this time, one after the other, on a clock of their own.
    fn answers(load: &Load, calls: usize, latency: Duration) {
        for _ in 0..calls {
            load.started(Instant::now());
            load.answered(latency, Instant::now());
            load.ended();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_at_once_and_fast_ones_outweigh_it() {
        let load = Load::new();
        let idle = load.cost(Instant::now());
        answers(&load, 1, millis(100));
        assert!(load.cost(Instant::now()) > 20.0 * idle);
        answers(&load, 40, millis(1));
        assert!(load.cost(Instant::now()) < 1.5 * idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_is_only_a_share_of_the_mean() {
        let load = Load::new();
        answers(&load, 1, millis(8));
        assert_eq!(load.mean_latency(Instant::now()), millis(8));
        answers(&load, 1, millis(88));
        assert_eq!(load.mean_latency(Instant::now()), millis(18));
        answers(&load, 100, millis(88));
        assert!(load.mean_latency(Instant::now()) > millis(87));
        load.started(Instant::now());
        time::advance(millis(500)).await;
        assert_eq!(load.mean_latency(Instant::now()), millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_multiply_the_cost() {
        let load = Load::new();
        let idle = load.cost(Instant::now());
        load.started(Instant::now());
        load.started(Instant::now());
        assert_eq!(load.in_flight(), 2);
        assert!((load.cost(Instant::now()) - 3.0 * idle).abs() < 1.0);
        load.answered(Duration::ZERO, Instant::now());
        load.ended();
        load.abandoned(Duration::ZERO, Instant::now());
        assert_eq!(load.in_flight(), 0);
        assert!((load.cost(Instant::now()) - idle).abs() < 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_ten_times_as_slow_is_not_worth_it_before_ten_calls_wait_elsewhere() {
        let (fast, slow) = (Load::new(), Load::new());
        answers(&fast, 100, millis(5));
        answers(&slow, 100, millis(50));
        for _ in 0..9 {
            fast.started(Instant::now());
        }
        assert!(fast.cost(Instant::now()) * 1.5 < slow.cost(Instant::now()));
        // A single slow answer among fast ones is another matter.
        answers(&slow, 100, millis(5));
        answers(&slow, 1, millis(50));
        assert!(fast.cost(Instant::now()) > slow.cost(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_nobody_calls_is_forgiven() {
        let load = Load::new();
        answers(&load, 1, millis(1024));
        for half_lives in 1..=4 {
            time::advance(HALF_LIFE).await;
            assert_eq!(load.latency(Instant::now()), millis(1024 >> half_lives));
        }
        time::advance(HALF_LIFE / 2).await;
        assert_eq!(load.latency(Instant::now()), millis(48));
        time::advance(HALF_LIFE * 1000).await;
        assert_eq!(load.latency(Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_waited_for_counts_as_one_that_took_so_long() {
        let load = Load::new();
        answers(&load, 10, millis(1));
        time::advance(millis(1000)).await;
        load.started(Instant::now());
        time::advance(millis(100)).await;
        assert_eq!(
            load.latency(Instant::now()),
            millis(100),
            "counted from its own start"
        );
        load.started(Instant::now());
        time::advance(millis(100)).await;
        assert_eq!(load.latency(Instant::now()), millis(200));
        load.answered(millis(100), Instant::now());
        assert!(
            load.latency(Instant::now()) <= millis(200),
            "the other one is not stalled"
        );
        load.abandoned(millis(300), Instant::now());
        assert_eq!(load.latency(Instant::now()), millis(300));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_was_answered_does_not_count_as_waited_for() {
        let load = Load::new();
        load.started(Instant::now());
        load.answered(millis(1), Instant::now());
        time::advance(HALF_LIFE * 100).await;
        assert_eq!(load.in_flight(), 1);
        assert_eq!(load.latency(Instant::now()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_silent_until_it_answers() {
        let load = Load::new();
        time::advance(millis(10)).await;
        let sent = Instant::now();
        load.started(sent);
        time::advance(millis(10)).await;
        load.started(Instant::now());
        load.abandoned(millis(10), Instant::now());
        assert!(load.is_silent_since(sent));
        load.answered(millis(10), Instant::now());
        assert!(!load.is_silent_since(sent));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_fails_fast_looks_slow() {
        let load = Load::new();
        answers(&load, 10, millis(1));
        load.failed(millis(1), Instant::now());
        assert_eq!(load.latency(Instant::now()), FAILED_AS);
    }
}
