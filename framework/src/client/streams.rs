//! How many streams of a connection are taken, and how many there may be.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// The places of a connection: one a stream.
#[derive(Debug)]
pub(super) struct Streams {
    taken: AtomicUsize,
    /// What the peer allows, as the connection's driver last heard.
    max: AtomicUsize,
}

impl Streams {
    pub(super) fn new(max: usize) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        }
    }

    /// Takes in how many the peer allows from now on. Says whether that is more: somebody may wait for one of them.
    pub(super) fn allow(&self, max: usize) -> bool {
        // Looked at first: a line that all calls read would be fought over.
        self.max.load(Ordering::Relaxed) != max && self.max.swap(max, Ordering::SeqCst) < max
    }

    /// Takes the place of one stream, if there is one.
    ///
    /// Who finds none has taken none, not even for a moment: somebody else would find that one taken, and both would
    /// wait for a place that is free.
    pub(super) fn reserve(&self) -> bool {
        let mut max = self.max.load(Ordering::Relaxed);
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            if taken >= max {
                // Looks in a way that whoever gives a place back after this, or allows more, sees that somebody waits.
                taken = self.taken.fetch_add(0, Ordering::SeqCst);
                max = self.max.fetch_add(0, Ordering::SeqCst);
                if taken >= max {
                    return false;
                }
            }
            match self
                .taken
                .compare_exchange_weak(taken, taken + 1, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => taken = now,
            }
        }
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.taken.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }
}
