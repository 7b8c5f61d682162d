//! How much may be sent again: a share of the calls, so that a service in trouble is not met by three times its load.

use std::time::Duration;

use metrics::Counter;
use tokio::time::Instant;

use crate::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// What each call earns, in thousandths of an attempt: one call in five may be sent again.
const EARNED_BY_A_CALL: i64 = 200;
const ATTEMPT: i64 = 1_000;
/// No more than this is saved up: an outage after a calm time must not be answered by a storm.
const SAVED_MAX: i64 = 1_000 * ATTEMPT;
/// How many attempts each second gives besides, so that those who call rarely can send again at all.
const FREE_PER_SECOND: u32 = 10;
/// The time of one of them.
const FREE_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / FREE_PER_SECOND as u64);

/// The budget of attempts beyond the first, of all calls to one service: a fifth of the calls, and ten a second.
///
/// The shares are Finagle's (`RetryBudget`: 20 % and 10 a second). Updated without a lock.
#[derive(Debug)]
pub(super) struct Budget {
    epoch: Instant,
    /// What calls have earned, in thousandths of an attempt.
    saved: AtomicI64,
    /// When the free attempts that were taken will have been paid for, in nanoseconds since the epoch: a leaky bucket
    /// as a single number (GCRA, ITU-T I.371).
    free_until_ns: AtomicU64,
    /// Counts what was asked for in vain.
    exhausted: Counter,
}

impl Budget {
    pub(super) fn new(exhausted: Counter) -> Self {
        Self {
            epoch: Instant::now(),
            saved: AtomicI64::new(0),
            free_until_ns: AtomicU64::new(0),
            exhausted,
        }
    }

    /// Takes in that a call was made.
    pub(super) fn earn(&self) {
        // Two calls at once may pass the limit by one share each; once it is reached, a call costs a read alone.
        if self.saved.load(Ordering::Relaxed) < SAVED_MAX {
            self.saved.fetch_add(EARNED_BY_A_CALL, Ordering::Relaxed);
        }
    }

    /// Takes one attempt, if there is one.
    #[must_use]
    pub(super) fn take(&self, now: Instant) -> bool {
        let spend = |saved| (saved >= ATTEMPT).then_some(saved - ATTEMPT);
        let taken = self
            .saved
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
            || self.take_free(now);
        if !taken {
            self.exhausted.increment(1);
        }
        taken
    }

    fn take_free(&self, now: Instant) -> bool {
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.epoch));
        let (interval, burst) = (nanos(FREE_INTERVAL), nanos(Duration::from_secs(1)));
        let spend = |until: u64| {
            let next = until.max(now).saturating_add(interval);
            (next <= now.saturating_add(burst)).then_some(next)
        };
        self.free_until_ns
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::time;

    use super::*;

    fn taken(budget: &Budget) -> usize {
        std::iter::from_fn(|| budget.take(Instant::now()).then_some(())).count()
    }

    #[tokio::test(start_paused = true)]
    async fn ten_a_second_are_free_and_are_not_saved_up() {
        let budget = Budget::new(Counter::noop());
        assert_eq!(taken(&budget), 10);
        time::advance(Duration::from_millis(500)).await;
        assert_eq!(taken(&budget), 5);
        time::advance(Duration::from_secs(60)).await;
        assert_eq!(taken(&budget), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fifth_of_the_calls_may_be_sent_again() {
        let budget = Budget::new(Counter::noop());
        for _ in 0..1_000 {
            budget.earn();
        }
        assert_eq!(taken(&budget), 200 + 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_calm_time_saves_has_a_limit() {
        let budget = Budget::new(Counter::noop());
        for _ in 0..1_000_000 {
            budget.earn();
        }
        assert_eq!(taken(&budget), 1_000 + 10);
    }

    /// The budget as one would explain it: what calls have earned, then what the clock gives, up to a second's worth.
    struct Explained {
        saved: i64,
        free: Duration,
        seen: Duration,
    }

    impl Explained {
        fn earn(&mut self) {
            if self.saved < SAVED_MAX {
                self.saved += EARNED_BY_A_CALL;
            }
        }

        fn take(&mut self, now: Duration) -> bool {
            self.free = (self.free + (now - self.seen)).min(Duration::from_secs(1));
            self.seen = now;
            if self.saved >= ATTEMPT {
                self.saved -= ATTEMPT;
                return true;
            }
            let taken = self.free >= FREE_INTERVAL;
            self.free -= if taken { FREE_INTERVAL } else { Duration::ZERO };
            taken
        }
    }

    proptest! {
        /// The clock is handed in, so nothing but it and the calls decide.
        #[test]
        fn it_gives_what_its_explanation_gives_at_any_times(
            steps in prop::collection::vec((0_u64..3_000_000_000, 0_usize..60, 0_usize..30), 1..80),
            before in prop_oneof![Just(0_usize), 4_900_usize..5_100],
        ) {
            let (budget, mut passed) = (Budget::new(Counter::noop()), Duration::ZERO);
            let second = Duration::from_secs(1);
            let mut explained = Explained { saved: 0, free: second, seen: passed };
            (0..before).for_each(|_| { budget.earn(); explained.earn(); });
            for (wait_ns, made, wanted) in steps {
                passed += Duration::from_nanos(wait_ns);
                let now = budget.epoch + passed;
                (0..made).for_each(|_| { budget.earn(); explained.earn(); });
                for _ in 0..wanted {
                    prop_assert_eq!(budget.take(now), explained.take(passed));
                    let saved = budget.saved.load(Ordering::Relaxed);
                    prop_assert!((0..=SAVED_MAX).contains(&saved), "{}", saved);
                }
            }
        }

        #[test]
        fn never_more_than_a_fifth_of_the_calls_and_ten_a_second_and_one_burst(
            steps in prop::collection::vec((0_u64..2_000, 0_usize..50, 0_usize..50), 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                let (budget, started) = (Budget::new(Counter::noop()), Instant::now());
                let (mut calls, mut taken) = (0, 0);
                for (wait_ms, made, wanted) in steps {
                    time::advance(Duration::from_millis(wait_ms)).await;
                    (0..made).for_each(|_| budget.earn());
                    calls += made;
                    taken += (0..wanted).filter(|_| budget.take(Instant::now())).count();
                    let free = started.elapsed().as_secs_f64() * f64::from(FREE_PER_SECOND);
                    let allowed = calls as f64 / 5.0 + free + f64::from(FREE_PER_SECOND);
                    assert!(taken as f64 <= allowed, "{taken} of {allowed}");
                }
            });
        }
    }
}
