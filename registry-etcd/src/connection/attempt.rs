//! What a server is to answer in time, or it has failed.

use std::time::Duration;

use tokio::time::Instant;

/// What is cut off after it waited so long counts as a failure of the server.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that a server is to answer: if it is cut off after long waiting, the server has failed.
pub(super) struct Attempt<F: FnMut()> {
    fail: F,
    started: Instant,
    is_answered: bool,
}

impl<F: FnMut()> Attempt<F> {
    pub(super) fn new(fail: F) -> Self {
        Self {
            fail,
            started: Instant::now(),
            is_answered: false,
        }
    }

    pub(super) fn answered<T>(mut self, answer: T) -> T {
        self.is_answered = true;
        answer
    }
}

impl<F: FnMut()> Drop for Attempt<F> {
    fn drop(&mut self) {
        if !self.is_answered && self.started.elapsed() >= PATIENCE {
            (self.fail)();
        }
    }
}
