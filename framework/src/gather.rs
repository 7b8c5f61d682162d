//! Lets calls of a connection that are ready to run add their frames first, so that one write takes those of several.
//!
//! Each call that sends wakes the task of its connection, which would then write for this call alone: a system call costs
//! more than all else in a call. A connection that carries several calls therefore lets some of those that are ready to
//! run go first when a call has added its frames. Not all of them: then one end would have nothing to do while the other
//! one has all calls. What else wakes a connection, such as bytes that have arrived, it does at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::task::AtomicWaker;

use crate::control::Owned;

/// How many calls share a write at most: by then it costs each of them little.
const BATCH_MAX: usize = 16;

/// A connection that lets others go first.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    waits: bool,
    batch: Arc<Batch>,
    /// Spawned when there is something to wait for, which is never for many a connection.
    last: Option<Owned<()>>,
}

/// The calls that share a write.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// How many have added their frames since the connection went on.
    added: AtomicUsize,
    /// How many the connection waits for; none while it does not.
    awaited: AtomicUsize,
    connection: AtomicWaker,
    last: AtomicWaker,
}

impl Gather {
    /// What the calls of the connection tell that they have added their frames.
    pub(crate) fn batch(&self) -> Arc<Batch> {
        Arc::clone(&self.batch)
    }

    /// Whether the connection, which carries so many calls, comes back after some that are ready to run. If so, its task
    /// will be woken.
    pub(crate) fn waits(&mut self, calls: usize, cx: &Context<'_>) -> bool {
        // Half of them: the other half is with the peer, or will be by then.
        let size = calls.div_ceil(2).min(BATCH_MAX);
        self.waits = !self.waits && (1..size).contains(&self.batch.added());
        if !self.waits {
            self.batch.go_on();
            return false;
        }
        self.batch.connection.register(cx.waker());
        self.batch.awaited.store(size, Ordering::Release);
        match &self.last {
            Some(_) => self.batch.last.wake(),
            None => {
                self.last = Some(Owned(tokio::spawn(Last {
                    batch: self.batch(),
                    is_last: false,
                })));
            }
        }
        true
    }
}

impl Batch {
    /// A call has added its frames.
    pub(crate) fn add(&self) {
        let added = self.added.fetch_add(1, Ordering::AcqRel) + 1;
        if added == self.awaited.load(Ordering::Acquire) {
            self.connection.wake();
        }
    }

    fn added(&self) -> usize {
        self.added.load(Ordering::Acquire)
    }

    fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Acquire) > 0
    }

    fn go_on(&self) {
        // Looked at first: most often nothing has been added, and calls on other threads read the same line.
        if self.added() > 0 {
            self.added.store(0, Ordering::Release);
        }
        if self.is_awaited() {
            self.awaited.store(0, Ordering::Release);
        }
    }
}

/// Goes after all tasks that are ready to run when a connection begins to wait. A task, as any thread of the runtime may
/// take it over from one that a handler blocks.
struct Last {
    batch: Arc<Batch>,
    is_last: bool,
}

impl Future for Last {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.batch.last.register(cx.waker());
        if !self.batch.is_awaited() {
            self.is_last = false;
        } else if self.is_last {
            self.is_last = false;
            self.batch.connection.wake();
        } else {
            self.is_last = true;
            // A task that wakes itself goes to the end of the queue.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// How many of these calls, of which so many are ready to run, share the write of the first one that adds frames.
    async fn written_together(calls: usize, ready: usize) -> usize {
        let mut gather = Gather::default();
        let batch = gather.batch();
        batch.add();
        let connection = tokio::spawn(poll_fn(move |cx| {
            let added = gather.batch.added();
            if gather.waits(calls, cx) {
                return Poll::Pending;
            }
            Poll::Ready(added)
        }));
        for _ in 1..ready {
            let batch = Arc::clone(&batch);
            tokio::spawn(async move { batch.add() });
        }
        connection.await.unwrap()
    }

    #[tokio::test]
    async fn those_that_are_ready_go_first_and_the_others_are_not_waited_for() {
        assert_eq!(written_together(100, 3).await, 3);
        assert_eq!(written_together(100, 1).await, 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn half_of_the_calls_share_a_write_and_no_more_than_share_it_well() {
        // In a task: what it spawns is ready on the thread that it runs on.
        let written_together = |calls| tokio::spawn(written_together(calls, calls));
        assert_eq!(written_together(9).await.unwrap(), 5);
        assert_eq!(written_together(100).await.unwrap(), BATCH_MAX);
    }

    #[tokio::test]
    async fn a_connection_waits_once_and_only_after_a_call_that_is_not_alone_has_added_frames() {
        let mut gather = Gather::default();
        let mut waits = async |calls, adds: bool| {
            if adds {
                gather.batch.add();
            }
            poll_fn(|cx| Poll::Ready(gather.waits(calls, cx))).await
        };
        assert!(!waits(8, false).await, "nothing was added");
        assert!(!waits(1, true).await, "nobody else will");
        for _ in 0..3 {
            assert!(waits(8, true).await);
            assert!(!waits(8, true).await, "it was woken, so it goes on");
        }
    }
}
