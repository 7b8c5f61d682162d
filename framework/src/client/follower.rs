//! The discovery cache: follows one service in the registry and keeps the last good snapshot while it is away.

use std::{sync::Arc, time::Duration};

use micro_registry::{Error, ErrorKind, Registry, ServiceName, Snapshot};
use tokio::{
    sync::watch,
    time::{self, Instant},
};
use tracing::{debug, warn};

use crate::{backoff::Backoff, control::Owned};

/// The longest wait before the first new watch.
const BACKOFF_FIRST: Duration = Duration::from_millis(500);
/// The longest wait before any new watch.
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What the registry said last, and why it says nothing now.
#[derive(Clone, Debug, Default)]
pub(super) struct Discovered {
    /// The last good snapshot; stays for as long as the registry is away.
    pub(super) snapshot: Option<Snapshot>,
    /// Why the watch ended; `None` while one runs.
    pub(super) failure: Option<Arc<Error>>,
}

/// Follows `service` until it is dropped; runs on the control runtime.
pub(super) async fn follow(
    registry: Arc<dyn Registry>,
    service: ServiceName,
    discovered: watch::Sender<Discovered>,
) {
    let mut backoff = Backoff::new(BACKOFF_FIRST, BACKOFF_MAX);
    loop {
        let watch = follow_once(Arc::clone(&registry), service.clone(), discovered.clone());
        // In a task of its own, so that a backend that panics is one that failed.
        let mut watch = Owned(tokio::spawn(watch));
        let (failure, heard) = (&mut watch.0).await.unwrap_or_else(|panic| {
            let error = Error::new(ErrorKind::Unavailable, "follow the service").with_source(panic);
            (error, false)
        });
        if heard {
            backoff.reset();
        }
        let known = discovered.borrow().failure.is_some();
        let registry = registry.name();
        if known {
            debug!(%service, registry, error = %failure, "watch failed again");
        } else {
            warn!(%service, registry, error = %super::unsent::chain(&failure), "watch failed, the last snapshot stays");
        }
        discovered.send_modify(|discovered| discovered.failure = Some(Arc::new(failure)));
        time::sleep(backoff.next_wait()).await;
    }
}

/// One watch, until it ends; also says whether it has brought anything.
async fn follow_once(
    registry: Arc<dyn Registry>,
    service: ServiceName,
    discovered: watch::Sender<Discovered>,
) -> (Error, bool) {
    let mut watcher = match registry.watch(service.as_str()).await {
        Ok(watcher) => watcher,
        Err(error) => return (error, false),
    };
    let mut heard = false;
    loop {
        match watcher.next().await {
            Some(Ok(snapshot)) => {
                heard = true;
                debug!(%service, nodes = snapshot.len(), "snapshot");
                discovered.send_replace(Discovered {
                    snapshot: Some(snapshot),
                    failure: None,
                });
            }
            Some(Err(error)) => return (error, heard),
            None => return (Error::new(ErrorKind::Unavailable, "the watch ended"), heard),
        }
    }
}

/// Waits for the next change, but not before `earliest`. Loses none when it is dropped.
pub(super) async fn changed_after(
    discovered: &mut watch::Receiver<Discovered>,
    earliest: Option<Instant>,
) -> Result<(), watch::error::RecvError> {
    if let Some(earliest) = earliest {
        time::sleep_until(earliest).await;
    }
    discovered.changed().await
}
