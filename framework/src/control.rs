//! The control plane's own runtime: every call into a registry runs here, so that a handler that blocks the workers of
//! the data plane loses no registration.

use std::{future::Future, io, sync::Arc, thread, time::Duration};

use micro_registry::ErrorKind;
use tokio::{
    runtime::{self, Handle},
    sync::oneshot,
    task::JoinHandle,
};

/// How long work that blocks on the control runtime, such as a name lookup, may hold up its end.
const SHUTDOWN_WAIT: Duration = Duration::from_millis(500);

/// Where calls into a registry run. Clones share it; the last one to go stops the thread and waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    handle: Handle,
    _owner: Option<Arc<Owner>>,
}

#[derive(Debug)]
struct Owner {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Control {
    /// Starts a current-thread runtime on a thread of its own.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new()
            .name("micro-control".into())
            .spawn(move || {
                // Ends by a message or by the sender's end; both mean stop.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_timeout(SHUTDOWN_WAIT);
            })?;
        Ok(Self {
            handle,
            _owner: Some(Arc::new(Owner {
                stop: Some(stop),
                thread: Some(thread),
            })),
        })
    }

    /// Uses a runtime that somebody else owns, as tests and simulations do.
    pub(crate) fn on(handle: Handle) -> Self {
        Self { handle, _owner: None }
    }

    /// Does `work` as one who is on this runtime.
    #[cfg(feature = "otel")]
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = self.handle.enter();
        work()
    }

    /// Runs a call into a registry here, and stops it when the returned future is dropped.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl Future<Output = micro_registry::Result<T>> + Send + 'static,
    ) -> micro_registry::Result<T> {
        let mut task = self.spawn(call);
        (&mut task.0).await.unwrap_or_else(|error| {
            Err(micro_registry::Error::new(ErrorKind::Unavailable, "run a registry call").with_source(error))
        })
    }

    /// Spawns work here that stops when the returned handle is dropped.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Owned<T> {
        Owned(self.handle.spawn(work))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.stop.take());
        let Some(thread) = self.thread.take() else { return };
        // The last clone may go inside a task of this very runtime, which cannot wait for itself.
        if thread.thread().id() != thread::current().id() {
            // A panic of the control thread was reported by the panic hook; there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// A task that its holder owns: dropping it stops the task.
#[derive(Debug)]
pub(crate) struct Owned<T>(pub(crate) JoinHandle<T>);

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_runs_although_the_callers_runtime_is_blocked() {
        let control = Control::start().unwrap();
        let (done, seen) = std::sync::mpsc::channel();
        let _task = control.spawn(async move { done.send(thread::current().name().map(str::to_owned)) });
        // Blocks the only worker of this test's runtime.
        let name = seen.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(name.as_deref(), Some("micro-control"));
    }

    #[tokio::test]
    async fn dropping_the_last_clone_ends_the_thread_and_its_tasks() {
        let control = Control::start().unwrap();
        let (alive, gone) = oneshot::channel::<()>();
        let task = control.handle.spawn(async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        drop(control);
        assert!(gone.await.is_err());
        assert!(task.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn a_panicking_backend_is_an_error_and_not_a_panic_of_the_caller() {
        let control = Control::start().unwrap();
        let error = control
            .call::<()>(async { panic!("a bad backend") })
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
