//! How many streams of a connection are taken, how many there may be, and whether it takes any more.

use crate::sync::atomic::{AtomicU32, Ordering};

/// What a peer without settings of its own allows until it has said otherwise.
pub(super) const STREAMS_MAX_FIRST: usize = 100;

/// In [`Streams::allowed`]: nothing more is to be sent.
const CLOSING: u32 = 1 << 31;
/// In [`Streams::allowed`]: the driver is gone.
const ENDED: u32 = 1 << 30;
/// In [`Streams::allowed`]: some connection has these places.
const LEASED: u32 = 1 << 29;
/// The lower bits of [`Streams::allowed`]: what the peer allows. None allows more that could be told from it.
const MAX: u32 = LEASED - 1;

/// The places of a connection, one a stream: what its calls and its driver share. Eight bytes, so that they stand on one
/// cache line with the load of the node.
#[derive(Debug)]
pub(super) struct Streams {
    taken: AtomicU32,
    /// What the peer allows, as the connection's driver last heard; with the marks above.
    allowed: AtomicU32,
}

impl Streams {
    pub(super) fn new(max: usize) -> Self {
        Self {
            taken: AtomicU32::new(0),
            allowed: AtomicU32::new(clamped(max)),
        }
    }

    /// Takes in how many the peer allows from now on. Says whether that is more: somebody may wait for one of them.
    pub(super) fn allow(&self, max: usize) -> bool {
        let (max, marks) = (clamped(max), !MAX);
        let mut allowed = self.allowed.load(Ordering::Relaxed);
        // Looked at first: a line that all calls read would be fought over.
        while allowed & MAX != max {
            let next = allowed & marks | max;
            match self
                .allowed
                .compare_exchange_weak(allowed, next, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return allowed & MAX < max,
                Err(now) => allowed = now,
            }
        }
        false
    }

    /// Takes the place of one stream, if there is one and the connection takes more.
    ///
    /// Who finds none has taken none, not even for a moment: somebody else would find that one taken, and both would
    /// wait for a place that is free.
    pub(super) fn reserve(&self) -> bool {
        let mut allowed = self.allowed.load(Ordering::Relaxed);
        let mut taken = self.taken.load(Ordering::Relaxed);
        loop {
            if is_closing(allowed) {
                return false;
            }
            if taken >= allowed & MAX {
                // Looks in a way that whoever gives a place back after this, or allows more, sees that somebody waits.
                taken = self.taken.fetch_add(0, Ordering::SeqCst);
                allowed = self.allowed.fetch_add(0, Ordering::SeqCst);
                if is_closing(allowed) || taken >= allowed & MAX {
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
        self.taken.load(Ordering::Relaxed) as usize
    }

    /// Takes no new streams from now on. Says whether that is news.
    pub(super) fn close(&self) -> bool {
        self.allowed.fetch_or(CLOSING, Ordering::Relaxed) & CLOSING == 0
    }

    /// Remembers that the driver is gone.
    pub(super) fn end(&self) {
        self.allowed.fetch_or(ENDED, Ordering::Relaxed);
    }

    /// Whether no new streams are taken.
    pub(super) fn is_closing(&self) -> bool {
        is_closing(self.allowed.load(Ordering::Relaxed))
    }

    /// Gives all places to a new connection, unless another one has them.
    pub(super) fn lease(&self) -> bool {
        self.allowed.fetch_or(LEASED, Ordering::Acquire) & LEASED == 0
    }

    /// Takes the places back from a connection of which nothing is left.
    pub(super) fn end_lease(&self) {
        self.taken.store(0, Ordering::Relaxed);
        self.allowed.store(clamped(STREAMS_MAX_FIRST), Ordering::Release);
    }

    #[cfg(test)]
    pub(super) fn max(&self) -> usize {
        (self.allowed.load(Ordering::Relaxed) & MAX) as usize
    }
}

fn is_closing(allowed: u32) -> bool {
    allowed & (CLOSING | ENDED) != 0
}

fn clamped(max: usize) -> u32 {
    u32::try_from(max).map_or(MAX, |max| max.min(MAX))
}
