//! How often something that may happen often is told.

use std::sync::Mutex;

use tokio::time::{Duration, Instant};

/// How many lines there may be in one interval.
const LINES_MAX: u32 = 10;
const INTERVAL: Duration = Duration::from_secs(1);

/// Counts what is told in the present interval.
#[derive(Debug, Default)]
pub(crate) struct Told {
    present: Mutex<Option<(Instant, u32)>>,
}

impl Told {
    /// It happened again: whether it is to be told.
    pub(crate) fn again(&self) -> bool {
        self.again_at(Instant::now())
    }

    fn again_at(&self, now: Instant) -> bool {
        let mut present = self.present.lock().expect("no panic while it is locked");
        match &mut *present {
            Some((begun, lines)) if now.duration_since(*begun) < INTERVAL => {
                *lines = lines.saturating_add(1);
                *lines <= LINES_MAX
            }
            _ => {
                *present = Some((now, 1));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_told_ten_times_a_second() {
        let (told, now) = (Told::default(), Instant::now());
        assert_eq!((0..100).filter(|_| told.again_at(now)).count(), 10);
        assert!(told.again_at(now + INTERVAL));
    }
}
