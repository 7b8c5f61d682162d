//! Lets the calls of a connection that are ready to run add their frames first, so that one write takes them all.
//!
//! Each call that sends wakes the task of its connection, which would then write for this call alone: a system call costs
//! more than all else in a call. A connection that carries several calls therefore lets the tasks that are ready to run
//! go first, once each time that it is woken.

use std::task::Context;

/// Whether a connection lets others go first.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    waits: bool,
}

impl Gather {
    /// Whether the connection, which carries so many calls, comes back after the tasks that are ready to run. If so,
    /// its task was woken already.
    pub(crate) fn waits(&mut self, calls: usize, cx: &Context<'_>) -> bool {
        self.waits = !self.waits && calls > 1;
        if self.waits {
            // A task that wakes itself goes to the end of the queue.
            cx.waker().wake_by_ref();
        }
        self.waits
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::poll_fn,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Poll,
    };

    use super::*;

    /// How many frames are there when the connection writes for the first time.
    async fn written_first(calls: usize) -> usize {
        let frames = Arc::new(AtomicUsize::new(0));
        let (mut gather, queue) = (Gather::default(), Arc::clone(&frames));
        let connection = tokio::spawn(poll_fn(move |cx| {
            if gather.waits(calls, cx) {
                return Poll::Pending;
            }
            Poll::Ready(queue.load(Ordering::Relaxed))
        }));
        for _ in 0..calls {
            let frames = Arc::clone(&frames);
            tokio::spawn(async move { frames.fetch_add(1, Ordering::Relaxed) });
        }
        connection.await.unwrap()
    }

    #[tokio::test]
    async fn several_calls_go_first_and_a_single_one_is_not_waited_for() {
        assert_eq!(written_first(3).await, 3);
        assert_eq!(written_first(1).await, 0);
    }
}
