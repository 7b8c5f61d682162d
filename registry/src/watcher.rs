//! The stream of snapshots that a registry hands out, and the end a backend writes to.

use std::future::Future;

use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{Error, ErrorKind, Result, Snapshot};

/// Follows one service: the present snapshot first, then one per change; ends after its first error.
///
/// Snapshots that nobody has read yet are replaced by newer ones, so a slow reader costs no memory and sees the
/// latest. Dropping the watcher stops the task that feeds it.
///
/// ```
/// use micro_registry::{Error, ErrorKind, Snapshot, Watcher};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let mut watcher = Watcher::spawn(|sender| async move {
///     sender.send(Snapshot::empty()); // What the backend has now, and then after each change.
///     Err(Error::new(ErrorKind::Unavailable, "follow `greeter`"))
/// });
/// assert!(watcher.next().await.unwrap().unwrap().is_empty());
/// assert_eq!(watcher.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
/// assert!(watcher.next().await.is_none());
/// # }
/// ```
#[derive(Debug)]
pub struct Watcher {
    snapshots: watch::Receiver<Option<Snapshot>>,
    end: Option<oneshot::Receiver<Result<()>>>,
    follower: JoinHandle<()>,
}

/// The end of a [`Watcher`] that a backend writes to.
#[derive(Debug)]
pub struct WatchSender {
    snapshots: watch::Sender<Option<Snapshot>>,
}

impl Watcher {
    /// Runs `follow` on the current runtime; what it sends is what the watcher yields, and the error it returns is the
    /// watcher's last word. It is stopped when the watcher is dropped. A follower returns `Ok` only when nobody
    /// [listens](WatchSender::closed) any more; one that panics, or whose runtime ends, is
    /// [`ErrorKind::Unavailable`].
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
        let (ended, end) = oneshot::channel();
        let following = follow(WatchSender { snapshots });
        let follower = tokio::spawn(async move {
            // Fails when nobody is left to tell: the watcher was dropped.
            let _ = ended.send(following.await);
        });
        Self {
            snapshots: receiver,
            end: Some(end),
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
        self.end.as_ref()?;
        // Fails once the backend's end is gone, and only after the last snapshot was seen.
        if self.snapshots.changed().await.is_ok() {
            return self.snapshots.borrow_and_update().clone().map(Ok);
        }
        let end = self.end.as_mut()?.await;
        self.end = None;
        let gone = |_| Error::new(ErrorKind::Unavailable, "follow a service: the follower is gone");
        end.map_err(gone).flatten().err().map(Err)
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
    use std::time::Duration;

    use tokio::time;

    use super::*;

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
    async fn a_follower_that_panics_is_an_error_and_not_a_silent_end() {
        let mut watcher = Watcher::spawn(|sender| async move {
            sender.send(Snapshot::empty());
            panic!("a follower that panics, in a test")
        });
        assert!(watcher.next().await.unwrap().is_ok());
        assert_eq!(
            watcher.next().await.unwrap().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert!(watcher.next().await.is_none());
    }

    #[tokio::test]
    async fn waiting_for_a_snapshot_can_be_cut_short_without_losing_one() {
        let (go, mut gone) = watch::channel(());
        let mut watcher = Watcher::spawn(|sender| async move {
            gone.changed().await.ok();
            sender.send(Snapshot::empty());
            sender.closed().await;
            Ok(())
        });
        let cut = time::timeout(Duration::ZERO, watcher.next()).await;
        assert!(cut.is_err());
        go.send(()).unwrap();
        assert!(watcher.next().await.unwrap().unwrap().is_empty());
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
