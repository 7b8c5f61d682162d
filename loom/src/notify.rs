//! A notification that promises what tokio's does of `notify_waiters`, and no more, on loom's locks.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use loom::sync::Mutex;

/// Wakes those who wait.
#[derive(Debug, Default)]
pub(crate) struct Notify {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How often all were told.
    told: u64,
    wakers: Vec<Waker>,
}

/// Ends with the next time that all are told after it was made.
#[derive(Debug)]
pub(crate) struct Notified<'a> {
    notify: &'a Notify,
    before: u64,
}

impl Notify {
    pub(crate) fn notified(&self) -> Notified<'_> {
        let before = self.state.lock().expect("no panic under the lock").told;
        Notified { notify: self, before }
    }

    pub(crate) fn notify_waiters(&self) {
        let mut state = self.state.lock().expect("no panic under the lock");
        state.told += 1;
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.notify.state.lock().expect("no panic under the lock");
        if state.told != self.before {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}
