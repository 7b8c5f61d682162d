//! Tells when the registry tells something new of the nodes of a service.

use micro::{
    Client,
    registry::{Error, ErrorKind, Watcher},
};
use tokio::time::{Duration, Instant, sleep_until};

/// The wait before a registry that failed is watched again; it doubles each time, up to the next.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Watches, and watches again whenever that has ended.
#[derive(Debug)]
pub(crate) struct Nodes {
    client: Client,
    service: String,
    watcher: Option<Watcher>,
    wait: Duration,
    again: Instant,
}

impl Nodes {
    pub(crate) fn of(client: Client, service: String) -> Self {
        Self {
            client,
            service,
            watcher: None,
            wait: RETRY_MIN,
            again: Instant::now(),
        }
    }

    /// Waits until there is something new. It may be given up at any time.
    ///
    /// # Errors
    ///
    /// Why the registry tells nothing at present; it is asked again by the next call, after a while.
    pub(crate) async fn change(&mut self) -> Result<(), Error> {
        if self.watcher.is_none() {
            sleep_until(self.again).await;
            match self.client.watch(&self.service).await {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => return Err(self.fail(error)),
            }
        }
        let next = match &mut self.watcher {
            Some(watcher) => watcher.next().await,
            None => None,
        };
        match next {
            Some(Ok(_)) => {
                self.wait = RETRY_MIN;
                Ok(())
            }
            Some(Err(error)) => Err(self.fail(error)),
            None => {
                let ended = Error::new(ErrorKind::Unavailable, "the registry ended its watch");
                Err(self.fail(ended))
            }
        }
    }

    fn fail(&mut self, error: Error) -> Error {
        self.watcher = None;
        self.again = Instant::now() + self.wait;
        self.wait = (self.wait * 2).min(RETRY_MAX);
        error
    }
}
