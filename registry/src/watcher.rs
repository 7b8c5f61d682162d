//! The stream of snapshots that a registry hands out, and the end a backend writes to.

use std::future::Future;

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{Error, Result, Snapshot};

/// Follows one service: the present snapshot first, then one per change; ends after its first error.
///
/// Snapshots that nobody has read yet are replaced by newer ones, so a slow reader costs no memory and sees the
/// latest. Dropping the watcher stops the task that feeds it.
#[derive(Debug)]
pub struct Watcher {
    snapshots: watch::Receiver<Option<Snapshot>>,
    failure: Option<oneshot::Receiver<Error>>,
    follower: JoinHandle<()>,
}

/// The end of a [`Watcher`] that a backend writes to.
#[derive(Debug)]
pub struct WatchSender {
    snapshots: watch::Sender<Option<Snapshot>>,
}

impl Watcher {
    /// Runs `follow` on the current runtime; what it sends is what the watcher yields, and the error it returns is the
    /// watcher's last word. It is stopped when the watcher is dropped.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn spawn<F, Fut>(follow: F) -> Self
    where
        F: FnOnce(WatchSender) -> Fut,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let (snapshots, receiver) = watch::channel(None);
        let (fail, failure) = oneshot::channel();
        let following = follow(WatchSender { snapshots });
        let follower = tokio::spawn(async move {
            if let Err(error) = following.await {
                // Nobody left to tell: the watcher was dropped.
                let _ = fail.send(error);
            }
        });
        Self {
            snapshots: receiver,
            failure: Some(failure),
            follower,
        }
    }

    /// Waits for the next snapshot, and answers `None` once the watcher has ended.
    ///
    /// Cancel safe: a snapshot that was not handed out is handed out by the next call.
    ///
    /// # Errors
    ///
    /// What ended the watch; after it only `None` comes. Whoever still cares watches again.
    pub async fn next(&mut self) -> Option<Result<Snapshot>> {
        self.failure.as_ref()?;
        // Fails once the backend's end is gone, and only after the last snapshot was seen.
        if self.snapshots.changed().await.is_ok() {
            return self.snapshots.borrow_and_update().clone().map(Ok);
        }
        let error = self.failure.as_mut()?.await;
        self.failure = None;
        error.ok().map(Err)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl WatchSender {
    /// Hands out `snapshot`, unless it equals the last one.
    pub fn send(&self, snapshot: Snapshot) {
        self.snapshots.send_if_modified(|last| {
            if last.as_ref() == Some(&snapshot) {
                return false;
            }
            *last = Some(snapshot);
            true
        });
    }

    /// Waits until the watcher is dropped.
    pub async fn closed(&self) {
        self.snapshots.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[tokio::test]
    async fn the_last_snapshot_comes_before_the_error_and_nothing_after_it() {
        let mut watcher = Watcher::spawn(|sender| async move {
            sender.send(Snapshot::empty());
            Err(Error::new(ErrorKind::Unavailable, "gone"))
        });
        assert!(watcher.next().await.unwrap().unwrap().is_empty());
        assert_eq!(
            watcher.next().await.unwrap().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert!(watcher.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_watcher_stops_its_follower() {
        let (alive, gone) = oneshot::channel::<()>();
        let watcher = Watcher::spawn(|_sender| async move {
            let _alive = alive;
            std::future::pending().await
        });
        drop(watcher);
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn an_unchanged_snapshot_is_not_sent_again() {
        let (again, mut more) = watch::channel(());
        let mut watcher = Watcher::spawn(|sender| async move {
            sender.send(Snapshot::empty());
            more.changed().await.ok();
            sender.send(Snapshot::empty());
            Err(Error::new(ErrorKind::Unavailable, "gone"))
        });
        assert!(watcher.next().await.unwrap().is_ok());
        again.send(()).unwrap();
        assert!(watcher.next().await.unwrap().is_err());
    }
}
