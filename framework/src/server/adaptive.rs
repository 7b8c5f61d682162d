//! How many calls at a time a server does well with, found from how long they take.
//!
//! This is the gradient controller that Envoy's adaptive concurrency filter describes. Now and then few calls are let in,
//! and what they take is what the work itself takes. After that the limit follows the ratio of that to what calls take
//! now: while calls wait for each other it falls, while they do not it grows by its square root, which is the queue that
//! a burst may make.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::time::{Duration, Instant};

/// The fewest calls that are let in, which is how many there are while the work itself is measured.
const CALLS_MIN: usize = 3;

/// How many calls tell what the work itself takes.
const PROBE_CALLS: u32 = 30;

/// How often that is asked anew, as work changes; and how much sooner or later, so that servers do not do it together.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);
const PROBE_JITTER: f64 = 0.15;

/// The least time, and the fewest calls, after which the limit is set anew.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_CALLS: u32 = 10;

/// Calls may take this much longer than the work itself before the limit falls.
const TOLERANCE: f64 = 1.25;

/// A limit falls at most to half, and grows at most to double, in one window.
const GRADIENT_MIN: f64 = 0.5;
const GRADIENT_MAX: f64 = 2.0;

/// A limit that follows the load.
#[derive(Debug)]
pub(super) struct Adaptive {
    limit: AtomicUsize,
    calls_max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// What the limit will be, or be again after a probe.
    estimate: f64,
    window: Window,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Few calls are let in: what do they take?
    Probing,
    /// They took `alone`; asked anew at `until`.
    Following { alone: Duration, until: Instant },
}

/// Calls that began after `since`.
#[derive(Clone, Copy, Debug)]
struct Window {
    since: Instant,
    calls: u32,
    total: Duration,
    most_active: usize,
}

impl Adaptive {
    /// At most `calls_max` calls; it begins with as few as a probe lets in.
    pub(super) fn new(calls_max: usize) -> Self {
        let least = CALLS_MIN.min(calls_max);
        Self {
            limit: AtomicUsize::new(least),
            calls_max,
            state: Mutex::new(State {
                phase: Phase::Probing,
                estimate: least as f64,
                window: Window::new(Instant::now()),
            }),
        }
    }

    /// How many calls there may be.
    pub(super) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// A call took `duration`, and `active` calls were in flight when it ended, itself included.
    pub(super) fn took(&self, duration: Duration, active: usize) {
        // A call that ends while another one does is not needed to know how long calls take.
        let Ok(mut state) = self.state.try_lock() else {
            return;
        };
        let now = Instant::now();
        // What waited for calls of the last window does not tell of this one's limit.
        let is_of_window = now
            .checked_sub(duration)
            .is_some_and(|began| began >= state.window.since);
        if !is_of_window {
            state.window.most_active = state.window.most_active.max(active);
            return;
        }
        state.window.add(duration, active);
        if let Some(limit) = state.next_limit(now, self.calls_max) {
            self.limit.store(limit, Relaxed);
        }
    }
}

impl State {
    /// The limit from now on, if this is the moment to set it.
    fn next_limit(&mut self, now: Instant, calls_max: usize) -> Option<usize> {
        match self.phase {
            Phase::Probing if self.window.calls < PROBE_CALLS => return None,
            Phase::Probing => {
                let jitter = 1.0 + PROBE_JITTER * (2.0 * fastrand::f64() - 1.0);
                self.phase = Phase::Following {
                    alone: self.window.mean(),
                    until: now + PROBE_INTERVAL.mul_f64(jitter),
                };
            }
            Phase::Following { .. } if !self.window.is_full(now) => return None,
            Phase::Following { until, .. } if now >= until => self.phase = Phase::Probing,
            Phase::Following { alone, .. } => self.follow(alone, calls_max),
        }
        self.window = Window::new(now);
        Some(match self.phase {
            Phase::Probing => CALLS_MIN.min(calls_max),
            Phase::Following { .. } => self.estimate as usize,
        })
    }

    fn follow(&mut self, alone: Duration, calls_max: usize) {
        let ratio = TOLERANCE * alone.as_secs_f64() / self.window.mean().as_secs_f64().max(f64::MIN_POSITIVE);
        let gradient = ratio.clamp(GRADIENT_MIN, GRADIENT_MAX);
        let next = self.estimate * gradient + self.estimate.sqrt();
        // A limit that nobody comes near to says nothing, and would grow for ever.
        let is_used = self.window.most_active as f64 >= self.estimate / 2.0;
        if is_used || next < self.estimate {
            self.estimate = next.clamp(CALLS_MIN.min(calls_max) as f64, calls_max as f64);
        }
    }
}

impl Window {
    fn new(since: Instant) -> Self {
        Self {
            since,
            calls: 0,
            total: Duration::ZERO,
            most_active: 0,
        }
    }

    fn add(&mut self, duration: Duration, active: usize) {
        self.calls += 1;
        self.total += duration;
        self.most_active = self.most_active.max(active);
    }

    fn is_full(&self, now: Instant) -> bool {
        self.calls >= WINDOW_CALLS && now.duration_since(self.since) >= WINDOW
    }

    fn mean(&self) -> Duration {
        self.total / self.calls.max(1)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const CALLS_MAX: usize = 1000;
    const ALONE: Duration = Duration::from_millis(10);

    /// A server that does `capacity` calls at a time at full speed, and more of them slower, for as long as `rounds` of
    /// calls take, of which there are always as many as are let in and come.
    async fn serve(adaptive: &Adaptive, capacity: usize, coming: usize, rounds: usize) {
        for _ in 0..rounds {
            let active = adaptive.limit().min(coming);
            let slower = (active as f64 / capacity as f64).max(1.0);
            let duration = ALONE.mul_f64(slower);
            advance(duration).await;
            for _ in 0..active {
                adaptive.took(duration, active);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_finds_what_the_server_does_at_a_time_and_follows_it() {
        let adaptive = Adaptive::new(CALLS_MAX);
        for capacity in [40, 10, 80] {
            // Two probes later the last capacity is forgotten.
            serve(&adaptive, capacity, CALLS_MAX, 20_000).await;
            let mut limits = Vec::new();
            for _ in 0..200 {
                serve(&adaptive, capacity, CALLS_MAX, 1).await;
                limits.push(adaptive.limit());
            }
            limits.sort_unstable();
            let median = limits[limits.len() / 2];
            assert!(
                (capacity..=2 * capacity).contains(&median),
                "{median} for {capacity}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_nobody_comes_near_to_does_not_grow() {
        let adaptive = Adaptive::new(CALLS_MAX);
        serve(&adaptive, 1000, 20, 2_000).await;
        assert!(adaptive.limit() <= 80, "{}", adaptive.limit());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_stays_within_its_bounds() {
        for calls_max in [1, 2, 50] {
            let adaptive = Adaptive::new(calls_max);
            for _ in 0..500 {
                serve(&adaptive, 1000, CALLS_MAX, 10).await;
                assert!((1..=calls_max).contains(&adaptive.limit()));
            }
            assert_eq!(adaptive.limit(), calls_max);
        }
        let adaptive = Adaptive::new(CALLS_MAX);
        serve(&adaptive, 1, CALLS_MAX, 5_000).await;
        assert!(adaptive.limit() >= CALLS_MIN);
    }
}
