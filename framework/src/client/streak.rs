//! How many calls to an endpoint have failed in a row.

use crate::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How many calls fail in a row before an endpoint is ejected.
pub(super) const FAILURES_MAX: u32 = 5;

/// How many calls have failed in a row: counted by calls, read by the control task.
#[derive(Debug, Default)]
pub(super) struct Streak {
    failures: AtomicU32,
    /// Whether one of them was an answer.
    answered: AtomicBool,
}

impl Streak {
    /// Counts a failure, which was an answer or the lack of one, and says whether the control task is to look at it.
    pub(super) fn failed(&self, answered: bool) -> bool {
        if answered {
            self.answered.store(true, Ordering::Relaxed);
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        failures == FAILURES_MAX || (failures == 1 && self.is_silence())
    }

    /// Ends the streak.
    pub(super) fn succeeded(&self) {
        // Looked at first: a line that all calls write would be fought over.
        if self.failures.load(Ordering::Relaxed) > 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.answered.store(false, Ordering::Relaxed);
        }
    }

    /// Whether none of the calls was answered at all.
    pub(super) fn is_silence(&self) -> bool {
        !self.answered.load(Ordering::Relaxed)
    }

    /// Whether it is doubtful that the endpoint is there. One call without any answer is enough: to find out costs a
    /// connection, not to find out costs another call.
    pub(super) fn is_doubtful(&self) -> bool {
        self.failures.load(Ordering::Relaxed) > 0 && self.is_silence()
    }

    /// Whether it is long enough to eject.
    pub(super) fn ejects(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= FAILURES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(streak: &Streak, times: u32) {
        for _ in 0..times {
            streak.failed(true);
        }
    }

    #[test]
    fn only_failures_in_a_row_eject() {
        let streak = Streak::default();
        fail(&streak, FAILURES_MAX - 1);
        streak.succeeded();
        fail(&streak, FAILURES_MAX - 2);
        assert!(!streak.failed(true) && !streak.ejects());
        assert!(streak.failed(true) && streak.ejects());
        assert!(
            !streak.failed(true) && streak.ejects(),
            "the control task is told once"
        );
    }
}
