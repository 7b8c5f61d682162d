//! A warning that is given once in a while, however often there is a reason.

use std::time::Duration;

use tokio::time::Instant;

/// The shortest time between two warnings of one kind.
const INTERVAL: Duration = Duration::from_secs(10);

/// Says when a warning is due.
#[derive(Debug, Default)]
pub(crate) struct Warning {
    last: Option<Instant>,
    withheld: u64,
}

impl Warning {
    /// How many reasons went without a warning since the last, if one is due now.
    pub(crate) fn due(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            self.withheld += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.withheld))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_warning_is_due_once_in_an_interval_and_counts_what_was_withheld() {
        let mut warning = Warning::default();
        assert_eq!(warning.due(), Some(0));
        assert_eq!(warning.due(), None);
        assert_eq!(warning.due(), None);
        time::advance(INTERVAL).await;
        assert_eq!(warning.due(), Some(2));
    }
}
