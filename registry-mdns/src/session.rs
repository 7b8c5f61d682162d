//! One connection to the network: the daemon, what it heard, what it announces, and the task that keeps them in step.

use std::sync::Arc;

use micro_registry::{Error, ErrorKind, Result};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{
    Settings,
    announcer::Announcer,
    browser::Browser,
    daemon::Daemon,
    directory::Directory,
    interest::Interest,
    phase::{Failure, Phase},
};

/// Owns the task and through it the daemon; both end when this is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What the session's task and the calls into it share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) directory: watch::Sender<Directory>,
    pub(crate) interest: Interest,
    pub(crate) announcer: Announcer,
    /// Wakes the browser when somebody cares again.
    pub(crate) wake: Notify,
}

/// What a look at the directory says.
pub(crate) enum Look<T> {
    /// The answer.
    Is(T),
    /// Look again at the next change.
    Wait,
    /// Look again at the next change, and at this time if there is none.
    Until(Instant),
}

impl Session {
    /// Starts to connect, on the current runtime.
    pub(crate) fn start(settings: Settings) -> Self {
        let (directory, _) = watch::channel(Directory::new());
        let shared = Arc::new(Shared {
            settings,
            directory,
            interest: Interest::default(),
            announcer: Announcer::default(),
            wake: Notify::new(),
        });
        let task = tokio::spawn(run(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Whether it has failed, or the runtime that it ran on is gone.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.shared.directory.borrow().phase, Phase::Failed(_))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
        let daemon = self.shared.daemon();
        self.shared.fail(Error::new(
            ErrorKind::Unavailable,
            "the mDNS registry was dropped",
        ));
        if let Some(daemon) = daemon {
            // Here as well as in the task, which ends some time later: whoever drops the registry and ends the
            // process has then said goodbye.
            daemon.stop();
        }
    }
}

async fn run(shared: Arc<Shared>) {
    let _ended = Ended(Arc::clone(&shared));
    let error = match Browser::start(Arc::clone(&shared)).await {
        Ok(browser) => browser.run().await,
        Err(error) => error,
    };
    shared.fail(error);
}

/// Tells everybody who waits that the task is gone, even if it was dropped with its runtime.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fail(Error::new(
            ErrorKind::Unavailable,
            "the task of the mDNS registry has ended",
        ));
    }
}

impl Shared {
    /// The daemon, once it runs.
    fn daemon(&self) -> Option<Daemon> {
        match &self.directory.borrow().phase {
            Phase::Running(daemon) => Some(daemon.clone()),
            Phase::Connecting | Phase::Failed(_) => None,
        }
    }

    /// Waits until the daemon runs.
    pub(crate) async fn connected(&self) -> Result<Daemon> {
        let running = |directory: &Directory| match &directory.phase {
            Phase::Running(daemon) => Look::Is(daemon.clone()),
            Phase::Connecting | Phase::Failed(_) => Look::Wait,
        };
        look(&mut self.directory.subscribe(), running).await
    }

    /// Has everything listened to, if it is not.
    pub(crate) fn listen(&self) {
        if self.directory.borrow().listening.is_none() {
            self.wake.notify_one();
        }
    }

    fn fail(&self, error: Error) {
        self.directory.send_if_modified(|directory| {
            // The first reason stands.
            if matches!(directory.phase, Phase::Failed(_)) {
                return false;
            }
            directory.phase = Phase::Failed(Failure::new(error));
            true
        });
    }
}

/// Looks at the directory until there is an answer.
///
/// # Errors
///
/// What ended the session.
pub(crate) async fn look<T>(
    directory: &mut watch::Receiver<Directory>,
    mut at: impl FnMut(&Directory) -> Look<T>,
) -> Result<T> {
    loop {
        let until = {
            let directory = directory.borrow_and_update();
            if let Phase::Failed(failure) = &directory.phase {
                return Err(failure.error());
            }
            match at(&directory) {
                Look::Is(answer) => return Ok(answer),
                Look::Wait => None,
                Look::Until(until) => Some(until),
            }
        };
        let changed = match until {
            Some(until) => match time::timeout_at(until, directory.changed()).await {
                Ok(changed) => changed,
                Err(_elapsed) => continue,
            },
            None => directory.changed().await,
        };
        changed.map_err(|error| Error::new(ErrorKind::Unavailable, "follow mDNS").with_source(error))?;
    }
}

#[cfg(test)]
mod tests;
