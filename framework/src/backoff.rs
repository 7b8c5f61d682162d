//! How long to wait before trying again: full jitter under a bound that doubles.

use std::time::Duration;

/// Waits between attempts: anything from nothing to a bound that doubles with each failure up to a cap.
///
/// Full jitter spreads those who failed together, so that a registry or a node that comes back is not met by all of
/// them at once.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `base` after the first failure, and never more than `cap`.
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let bound = self
            .base
            .saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX))
            .min(self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// Forgets the failures, after a success.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_under_a_bound_that_doubles_up_to_the_cap() {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
        for bound_ms in [500, 1_000, 2_000, 4_000, 5_000, 5_000] {
            assert!(backoff.next_wait() <= Duration::from_millis(bound_ms));
        }
        for _ in 0..100 {
            assert!(backoff.next_wait() <= Duration::from_secs(5));
        }
        backoff.reset();
        assert!(backoff.next_wait() <= Duration::from_millis(500));
    }

    #[test]
    fn waits_spread_over_the_whole_range() {
        let mut backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(4));
        let waits: Vec<_> = (0..1_000).map(|_| backoff.next_wait()).collect();
        for second in 0..4 {
            let within = waits.iter().filter(|wait| wait.as_secs() == second).count();
            assert!((150..=350).contains(&within), "second {second}: {within}");
        }
    }
}
