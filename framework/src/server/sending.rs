//! The task of a call, which ends soon after the call's deadline even if its caller takes nothing of the answer.
//!
//! An answer is asked for its next part only when there is room for it at the caller's end, so one that is not taken sees
//! no deadline. What is left then is to reset its stream, by dropping the task.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::{
    task_local,
    time::{Duration, Instant, Sleep, sleep_until},
};

use crate::gather::Batch;

/// How much later than the answer itself sees its deadline the stream is reset, so that a caller who takes what comes
/// gets the status.
const GRACE: Duration = Duration::from_millis(20);

task_local! {
    static ENDS: Cell<Ends>;
}

/// What ends the call of a task.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    /// When its answer is to end.
    deadline: Option<Instant>,
    /// From when on a caller that gives it up has waited for as long as it said.
    given_up: Option<Instant>,
}

/// The answer of this task is to end by `deadline`.
pub(super) fn until(deadline: Instant) {
    change(|ends| ends.deadline = Some(deadline));
}

/// The same, of what is to be over so long from now.
pub(super) fn within(time: Duration) {
    // The clock is read only where there is a deadline.
    change(|ends| ends.deadline = Some(Instant::now() + time));
}

/// The answer of this task waits for whoever makes it, and may.
pub(super) fn whenever() {
    change(|ends| ends.deadline = None);
}

/// A caller that gives the call of this task up from then on does so because its time is over.
pub(super) fn given_up_from(moment: Instant) {
    change(|ends| ends.given_up = Some(moment));
}

fn change(change: impl FnOnce(&mut Ends)) {
    // Over HTTP/1.1 no call has a task of its own, and none is gRPC.
    let _ = ENDS.try_with(|cell| {
        let mut ends = cell.get();
        change(&mut ends);
        cell.set(ends);
    });
}

/// Whether the call of this task is dropped because its time is over.
pub(super) fn is_cut() -> bool {
    let ends = ENDS.try_with(Cell::get).unwrap_or_default();
    let end = ends.given_up.or(ends.deadline);
    end.is_some_and(|end| end <= Instant::now())
}

pin_project! {
    /// The task.
    pub(super) struct Sending<F> {
        #[pin]
        call: Option<F>,
        ends: Ends,
        // Made when the answer has to wait, which that of most unary calls never does.
        #[pin]
        timer: Option<Sleep>,
        _open: Open,
    }
}

/// The calls that a connection carries.
#[derive(Debug)]
pub(super) struct OpenCalls {
    count: AtomicUsize,
    batch: Arc<Batch>,
}

impl OpenCalls {
    /// None yet; `batch` is told of each that ends.
    pub(super) fn new(batch: Arc<Batch>) -> Arc<Self> {
        let count = AtomicUsize::new(0);
        Arc::new(Self { count, batch })
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

/// One of the calls that a connection carries.
#[derive(Debug)]
pub(super) struct Open {
    calls: Arc<OpenCalls>,
}

impl Open {
    /// Counts a call among `calls` until it is dropped.
    pub(super) fn new(calls: &Arc<OpenCalls>) -> Self {
        calls.count.fetch_add(1, Ordering::Relaxed);
        Self {
            calls: Arc::clone(calls),
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.calls.count.fetch_sub(1, Ordering::Relaxed);
        self.calls.batch.add();
    }
}

impl<F> Sending<F> {
    pub(super) fn new(call: F, open: Open) -> Self {
        Self {
            call: Some(call),
            ends: Ends::default(),
            timer: None,
            _open: open,
        }
    }
}

impl<F: Future> Future for Sending<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let (polled, ends) = ENDS.sync_scope(Cell::new(*this.ends), || {
            let Some(call) = this.call.as_mut().as_pin_mut() else {
                return (Poll::Ready(()), Ends::default());
            };
            let polled = call.poll(cx).map(drop);
            if polled.is_ready() {
                // Here, where it can be told why, if its caller has reset the stream.
                this.call.set(None);
            }
            (polled, ENDS.with(Cell::get))
        });
        *this.ends = ends;
        let Some(deadline) = ends.deadline.filter(|_| polled.is_pending()) else {
            return polled;
        };
        let end = deadline + GRACE;
        // It moves where each part of the answer has a time of its own.
        if this
            .timer
            .as_ref()
            .as_pin_ref()
            .is_none_or(|timer| timer.deadline() != end)
        {
            this.timer.set(Some(sleep_until(end)));
        }
        let timer = this.timer.as_mut().as_pin_mut().expect("it was just set");
        ready!(timer.poll(cx));
        ENDS.sync_scope(Cell::new(ends), || this.call.set(None));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    fn sending<F: Future>(call: F) -> Sending<F> {
        Sending::new(call, Open::new(&OpenCalls::new(Arc::default())))
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_done_by_its_deadline_is_dropped_soon_after() {
        let deadline = Instant::now() + Duration::from_secs(3);
        sending(async move {
            until(deadline);
            pending::<()>().await;
        })
        .await;
        let late = deadline.elapsed();
        assert!(late >= GRACE && late < 2 * GRACE, "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_knows_why() {
        struct Told<'t>(&'t Cell<Option<bool>>);
        impl Drop for Told<'_> {
            fn drop(&mut self) {
                self.0.set(Some(is_cut()));
            }
        }
        let (cut, reset, left) = (Cell::new(None), Cell::new(None), Cell::new(None));
        let deadline = Instant::now() + Duration::from_secs(3);
        let call = |told| {
            sending(async move {
                let _told = Told(told);
                until(deadline);
                pending::<()>().await;
            })
        };
        {
            let mut call = std::pin::pin!(call(&left));
            poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        }
        call(&cut).await;
        // So hyper ends an answer whose stream is reset: what made it is dropped afterwards.
        let held = Told(&reset);
        sending(poll_fn(move |_| {
            let _ = &held;
            given_up_from(Instant::now());
            Poll::Ready(())
        }))
        .await;
        let expected = (Some(true), Some(true), Some(false));
        assert_eq!((cut.get(), reset.get(), left.get()), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_a_call_takes_its_time() {
        let started = Instant::now();
        sending(tokio::time::sleep(Duration::from_secs(3600))).await;
        assert!(started.elapsed() >= Duration::from_secs(3600));
    }
}
