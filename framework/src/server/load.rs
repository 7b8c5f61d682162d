//! How many calls are in flight, and how many there may be.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The calls of a server that have begun and not ended, those of health and reflection left out.
#[derive(Debug)]
pub(super) struct Load {
    active: AtomicUsize,
}

impl Load {
    pub(super) fn new() -> Self {
        Self {
            active: AtomicUsize::new(0),
        }
    }

    pub(super) fn begin(&self) {
        self.active.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Relaxed);
    }

    /// The calls in flight.
    pub(super) fn active(&self) -> usize {
        self.active.load(Relaxed)
    }
}
