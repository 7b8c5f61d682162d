//! Who waits for a free stream, and how they are told of one.

use crate::sync::{
    Notified, Notify,
    atomic::{AtomicUsize, Ordering},
};

/// Where calls wait that found every connection full.
#[derive(Debug, Default)]
pub(super) struct Room {
    waiting: AtomicUsize,
    released: Notify,
}

impl Room {
    /// Counts a call among those that wait. It looks for a stream afterwards: what is given back from now on is told.
    pub(super) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self)
    }

    /// Tells those who wait, once a stream was given back. Costs one load while nobody does.
    pub(super) fn release(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.released.notify_waiters();
        }
    }
}

/// A call that waits for a free stream.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Room);

impl<'a> Waiting<'a> {
    /// Tells of the next stream that is given back. It is to be enabled before looking for one.
    pub(super) fn released(&self) -> Notified<'a> {
        self.0.released.notified()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
