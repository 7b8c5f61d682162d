//! Code of the user's that the service runs: hooks, checks and tasks.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use tokio::time;
use tracing::Instrument as _;

use super::ServiceContext;
use crate::{Error, ErrorKind, Result, control::Owned};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Running = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// What a hook, a check or a task ends with: nothing, or a result whose error is any.
///
/// ```
/// use micro::{Service, ServiceContext};
///
/// async fn migrate(_cx: ServiceContext) -> Result<(), std::io::Error> {
///     Ok(())
/// }
///
/// let builder = Service::builder("greeter")
///     .before_start(migrate)
///     .after_start(|cx| async move { println!("{} listens", cx.id()) });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no outcome of a hook, check or task",
    label = "must end with `()` or a `Result<(), E>` whose `E` becomes a boxed error",
    note = "an endless loop ends with `!`: end it by `cx.cancelled()`, or make it an `async fn`"
)]
pub trait Outcome: Send + 'static {
    /// The result; nothing is a success.
    ///
    /// # Errors
    ///
    /// What the hook, check or task failed with.
    fn into_result(self) -> Result<(), BoxError>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError> + Send + 'static> Outcome for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// A piece of the user's code, to be run once, with a name for messages: ``task `consume` ``.
pub(super) struct Work {
    name: String,
    start: Box<dyn FnOnce(ServiceContext) -> Running + Send>,
}

/// A piece of the user's code that runs in a task of its own: it may panic, and it may block its thread, and the
/// service goes on. It stops when this is dropped.
pub(super) struct Started {
    name: String,
    task: Owned<Result<(), BoxError>>,
}

impl Work {
    pub(super) fn new<F, Fut>(name: impl Into<String>, work: F) -> Self
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        Self {
            name: name.into(),
            start: Box::new(|cx| {
                let running = work(cx);
                Box::pin(async move { running.await.into_result() })
            }),
        }
    }

    pub(super) fn start(self, cx: &ServiceContext) -> Started {
        let (start, cx) = (self.start, cx.clone());
        Started {
            name: self.name,
            task: Owned(tokio::spawn(async move { start(cx).await }.in_current_span())),
        }
    }

    /// Runs it to its end, within `limit`.
    pub(super) async fn run(self, cx: &ServiceContext, limit: Duration) -> Result<()> {
        let mut started = self.start(cx);
        match time::timeout(limit, started.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                let message = format!("{} took longer than {limit:?}", started.name);
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}

impl Started {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn stop(&self) {
        self.task.0.abort();
    }

    /// Waits for its end. Cancel safe; it ends once.
    pub(super) async fn ended(&mut self) -> Result<()> {
        let failed = |what| Error::new(ErrorKind::Hook, format!("{} {what}", self.name));
        match (&mut self.task.0).await {
            Ok(result) => result.map_err(|error| failed("failed").with_source(error)),
            Err(error) if error.is_cancelled() => Ok(()),
            Err(panic) => Err(failed("panicked").with_source(panic)),
        }
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::service::testing::context;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn error_of<F, Fut>(work: F) -> Error
    where
        F: FnOnce(ServiceContext) -> Fut + Send + 'static,
        Fut: Future<Output: Outcome> + Send + 'static,
    {
        Work::new("a hook", work)
            .run(&context(), LIMIT)
            .await
            .unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_names_the_work_and_keeps_its_cause() {
        let error = error_of(|_| async { Err::<(), _>(io::Error::other("no database")) }).await;
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert_eq!(format!("{error:#}"), "a hook failed: no database");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_failure() {
        async fn bug(_cx: ServiceContext) {
            panic!("a bug")
        }
        let error = error_of(bug).await;
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert!(error.to_string().contains("a hook panicked"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_stopped() {
        let (alive, mut gone) = tokio::sync::mpsc::channel::<()>(1);
        let error = error_of(move |_| async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        })
        .await;
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(error.to_string(), "a hook took longer than 10s");
        assert!(gone.recv().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_and_ok_are_success() {
        let cx = context();
        Work::new("a hook", |_| async {}).run(&cx, LIMIT).await.unwrap();
        let ok = Work::new("a hook", |_| async { Ok::<(), io::Error>(()) });
        ok.run(&cx, LIMIT).await.unwrap();
    }
}
