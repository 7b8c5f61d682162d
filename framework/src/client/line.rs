//! What a pick looks at of a connection: whether it takes streams, and how many more.

use std::sync::atomic::{AtomicBool, Ordering};

use super::streams::Streams;

/// What a node without settings of its own allows until it has said otherwise.
pub(super) const STREAMS_MAX_FIRST: usize = 100;

/// What the calls of a connection and its driver share. Each has a cache line of its own, so that a pick looks at no
/// more, and calls on one connection do not slow those on another.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Line {
    pub(super) streams: Streams,
    closing: AtomicBool,
    /// Whether the driver is gone.
    ended: AtomicBool,
}

impl Line {
    /// Takes the place of one stream, if there is one.
    pub(super) fn reserve(&self) -> bool {
        !self.is_closing() && self.streams.reserve()
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.streams.release();
    }

    /// Sends nothing more through this connection: it takes no new streams. Says whether that is news.
    pub(super) fn close(&self) -> bool {
        !self.closing.swap(true, Ordering::Relaxed)
    }

    /// Remembers that the driver is gone.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the connection takes no new streams.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.ended.load(Ordering::Relaxed)
    }
}

impl Default for Line {
    fn default() -> Self {
        Self {
            streams: Streams::new(STREAMS_MAX_FIRST),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }
}
