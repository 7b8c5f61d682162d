//! How long to wait before a crashed node is started again.

use std::time::Duration;

/// The wait after the first crash.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);
/// A node that was ready for this long has recovered: its next crash counts as the first.
const RECOVERED_AFTER: Duration = Duration::from_secs(10);

/// A wait that doubles with every crash in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait before the next start of a node that was ready for `ready_for` before it crashed; zero if it never was.
    pub(super) fn after(&mut self, ready_for: Duration) -> Duration {
        if ready_for >= RECOVERED_AFTER {
            self.next = FIRST;
        }
        let wait = self.next;
        self.next = (wait * 2).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_anew_after_a_good_run() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..7)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(backoff.after(RECOVERED_AFTER), FIRST);
    }
}
