//! How long to wait before trying again: full jitter under a bound that doubles.

use std::time::Duration;

/// The least share of the cap that is waited once the bound has grown to it.
const SHARE_MIN: f64 = 0.8;

/// Waits between attempts: anything from nothing to a bound that doubles with each failure up to a cap, once anything up
/// to the cap, and from then on nearly the cap.
///
/// Full jitter spreads those who failed together, so that a registry or a node that comes back is not met by all of
/// them at once. Once they are spread, long waits of nearly one length keep them so: of many who wait anything up to the
/// cap, twice as many come in the first moment as on average.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    base: Duration,
    factor: u32,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits up to `base` after the first failure, and never more than `cap`.
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            factor: 2,
            cap,
            failures: 0,
        }
    }

    /// Waits up to `base` after the first failure, up to `cap` after the second, and nearly `cap` after the others.
    pub(crate) const fn steep(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            factor: u32::MAX,
            cap,
            failures: 0,
        }
    }

    /// The wait after one more failure.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let before = self.failures.checked_sub(1).map(|failures| self.bound(failures));
        let bound = self.bound(self.failures);
        self.failures = self.failures.saturating_add(1);
        // The first wait up to the cap spreads those over all of it who failed at nearly the same time.
        if before.is_none_or(|before| before < self.cap) {
            return bound.min(self.cap).mul_f64(fastrand::f64());
        }
        self.cap.mul_f64(SHARE_MIN + (1.0 - SHARE_MIN) * fastrand::f64())
    }

    fn bound(&self, failures: u32) -> Duration {
        self.base.saturating_mul(self.factor.saturating_pow(failures))
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
    fn waits_below_the_cap_spread_over_the_whole_range() {
        let mut backoff = Backoff::new(Duration::from_secs(4), Duration::from_secs(5));
        let waits: Vec<_> = (0..1_000)
            .map(|_| {
                backoff.reset();
                backoff.next_wait()
            })
            .collect();
        for second in 0..4 {
            let within = waits.iter().filter(|wait| wait.as_secs() == second).count();
            assert!((150..=350).contains(&within), "second {second}: {within}");
        }
    }

    #[test]
    fn a_steep_one_waits_nearly_the_cap_from_the_third_failure_on() {
        let mut backoff = Backoff::steep(Duration::from_millis(500), Duration::from_secs(5));
        assert!(backoff.next_wait() <= Duration::from_millis(500));
        assert!(backoff.next_wait() <= Duration::from_secs(5));
        for _ in 0..100 {
            let bounds = Duration::from_secs(4)..=Duration::from_secs(5);
            assert!(bounds.contains(&backoff.next_wait()));
        }
    }
}
