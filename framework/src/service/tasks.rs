//! The user's background work: started with the service, watched, and stopped and joined with it.

use std::time::Duration;

use futures_util::{FutureExt as _, future::select_all};
use tokio::time;
use tracing::{debug, warn};

use super::{
    ServiceContext,
    work::{Started, Work},
};
use crate::{Error, Result};

/// How long tasks that were stopped may take to let go of what they hold.
const JOIN_WAIT: Duration = Duration::from_millis(500);

/// The tasks that run. Dropping it stops them without waiting for them.
#[derive(Default)]
pub(super) struct Tasks {
    running: Vec<Started>,
}

impl Tasks {
    pub(super) fn start(work: Vec<Work>, cx: &ServiceContext) -> Self {
        Self {
            running: work.into_iter().map(|work| work.start(cx)).collect(),
        }
    }

    /// Waits until a task fails: for ever, if all is well. One that ends without an error has done its work.
    pub(super) async fn failed(&mut self) -> Error {
        while !self.running.is_empty() {
            if let Err(error) = self.next_end().await {
                return error;
            }
        }
        std::future::pending().await
    }

    /// Stops what still runs, and answers the first error that comes to light by it.
    pub(super) async fn stop(&mut self) -> Result<()> {
        for task in &self.running {
            task.stop();
        }
        let joined = async {
            let mut first = Ok(());
            while !self.running.is_empty() {
                first = first.and(self.next_end().await);
            }
            first
        };
        if let Ok(first) = time::timeout(JOIN_WAIT, joined).await {
            return first;
        }
        for task in &self.running {
            warn!(task = task.name(), "blocks its thread and is left behind");
        }
        Ok(())
    }

    /// Waits for the next task to end. Cancel safe.
    async fn next_end(&mut self) -> Result<()> {
        let ends = self.running.iter_mut().map(|task| task.ended().boxed());
        let (ended, at, _) = select_all(ends).await;
        let task = self.running.swap_remove(at);
        debug!(task = task.name(), "ended");
        ended
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::service::testing::context;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_is_told_and_one_that_is_done_is_not() {
        let cx = context();
        let mut tasks = Tasks::start(
            vec![
                Work::new("task `done`", |_| async {}),
                Work::new("task `lives`", |_| std::future::pending::<()>()),
                Work::new("task `fails`", |_| async {
                    time::sleep(Duration::from_secs(1)).await;
                    Err::<(), _>("no queue")
                }),
            ],
            &cx,
        );
        let error = tasks.failed().await;
        assert_eq!(format!("{error:#}"), "task `fails` failed: no queue");
        tasks.stop().await.unwrap();
        assert!(tasks.running.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_until_tasks_have_let_go() {
        let cx = context();
        let (alive, mut gone) = mpsc::channel::<()>(1);
        let mut tasks = Tasks::start(
            vec![Work::new("task", move |_| async move {
                let _alive = alive;
                std::future::pending::<()>().await;
            })],
            &cx,
        );
        tasks.stop().await.unwrap();
        assert!(matches!(
            gone.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_was_asked_to_end_may_end_with_an_error() {
        let cx = context();
        let mut tasks = Tasks::start(
            vec![Work::new("task `flush`", |cx: ServiceContext| async move {
                cx.cancelled().await;
                Err::<(), _>("disk full")
            })],
            &cx,
        );
        cx.cancellation_token().cancel();
        tokio::task::yield_now().await;
        let error = tasks.stop().await.unwrap_err();
        assert_eq!(format!("{error:#}"), "task `flush` failed: disk full");
    }
}
