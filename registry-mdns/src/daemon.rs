//! The mdns-sd daemon: one thread and its sockets, behind a queue of commands that may be full.

use std::time::Duration;

use mdns_sd::{DaemonEvent, IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo, UnregisterStatus};
use micro_registry::{Error, ErrorKind, Result};
use tokio::time;

use crate::interfaces::Interfaces;

/// The DNS-SD type of all our nodes, whatever their service: one browse finds them all.
pub(crate) const SERVICE_TYPE: &str = "_micro._tcp.local.";
/// How often a command is given again while the daemon's queue is full.
const COMMAND_TRIES: u32 = 200;
/// The pause before it is given again.
const COMMAND_PAUSE: Duration = Duration::from_millis(10);
/// How long one message may be on loopback, whose packets are large: fewer of them are lost in a burst.
const LOOPBACK_MESSAGE_SIZE: usize = 8_900;
/// How long an instance has to answer before it counts as gone. Under 2 s a live one goes: responders keep silent for
/// 1 s after their last multicast.
pub(crate) const VERIFY_WAIT: Duration = Duration::from_secs(3);
/// How long the daemon may take to say goodbye for what is still announced when it is stopped.
const STOP_WAIT: Duration = Duration::from_millis(500);
/// How long the daemon may take to send a goodbye.
const GOODBYE_WAIT: Duration = Duration::from_secs(2);
/// After how long mdns-sd repeats a goodbye, with room for a busy host.
const GOODBYE_REPEAT: Duration = Duration::from_millis(150);

/// A handle to the daemon; clones share it.
#[derive(Clone)]
pub(crate) struct Daemon {
    inner: ServiceDaemon,
}

impl Daemon {
    /// Starts the daemon; it speaks on `interfaces` and nowhere else.
    pub(crate) async fn start(interfaces: &Interfaces) -> Result<Running> {
        let inner =
            ServiceDaemon::new_with_port(interfaces.port()).map_err(|error| failed("start", error))?;
        // From here on it is stopped whatever happens.
        let running = Running(Self { inner });
        // The daemon takes one command after the other, so it has sent nothing before it knows where.
        running
            .command("choose interfaces", |daemon| {
                daemon.disable_interface(IfKind::All)
            })
            .await?;
        running
            .command("choose interfaces", |daemon| {
                daemon.enable_interface(interfaces.kinds())
            })
            .await?;
        running
            .command("set the message size", |daemon| {
                daemon.set_max_packet_size(Interfaces::loopback_kinds(), LOOPBACK_MESSAGE_SIZE)
            })
            .await?;
        Ok(running)
    }

    pub(crate) async fn monitor(&self) -> Result<Receiver<DaemonEvent>> {
        self.command("monitor", ServiceDaemon::monitor).await
    }

    /// Browses for all nodes. The one browse: another ends it.
    pub(crate) async fn browse(&self) -> Result<Receiver<ServiceEvent>> {
        self.command("browse", |daemon| daemon.browse(SERVICE_TYPE)).await
    }

    /// Ends the browse, and forgets all that was heard.
    pub(crate) async fn forget(&self) -> Result<()> {
        self.command("forget", |daemon| daemon.stop_browse(SERVICE_TYPE))
            .await
    }

    /// Asks the instance `name` whether it is still there; if not, its removal is an event of the browse.
    pub(crate) async fn verify(&self, name: &str) -> Result<()> {
        self.command("verify", |daemon| daemon.verify(name.to_owned(), VERIFY_WAIT))
            .await
    }

    pub(crate) async fn announce(&self, info: &ServiceInfo) -> Result<()> {
        self.command("announce", |daemon| daemon.register(info.clone()))
            .await
    }

    /// Says goodbye for the instance `name`, and waits until that was sent and sent again.
    pub(crate) async fn withdraw(&self, name: &str) -> Result<()> {
        let sent = self.command("withdraw", |daemon| daemon.unregister(name)).await?;
        let late = || Error::new(ErrorKind::Unavailable, "withdraw from mDNS in time");
        match time::timeout(GOODBYE_WAIT, sent.recv_async()).await {
            Ok(Ok(UnregisterStatus::OK)) => time::sleep(GOODBYE_REPEAT).await,
            // Not announced: there is nothing to say goodbye for.
            Ok(Ok(UnregisterStatus::NotFound)) => {}
            Ok(Err(error)) => return Err(late().with_source(error)),
            Err(error) => return Err(late().with_source(error)),
        }
        Ok(())
    }

    /// Says goodbye for the instance `name`, without waiting.
    pub(crate) async fn forgo(&self, name: &str) -> Result<()> {
        self.command("withdraw", |daemon| daemon.unregister(name))
            .await
            .map(drop)
    }

    /// Says goodbye for all that is announced, and ends the daemon. Blocks until it has, for half a second at most.
    pub(crate) fn stop(&self) {
        for _ in 0..COMMAND_TRIES {
            match self.inner.shutdown() {
                Ok(stopped) => {
                    // In vain only if the daemon hangs; then it says goodbye when it wakes.
                    let _ = stopped.recv_timeout(STOP_WAIT);
                    return;
                }
                Err(mdns_sd::Error::Again) => std::thread::yield_now(),
                // Stopped before.
                Err(_) => return,
            }
        }
    }

    /// Gives a command, again and again while the queue is full.
    async fn command<T>(&self, what: &str, give: impl Fn(&ServiceDaemon) -> mdns_sd::Result<T>) -> Result<T> {
        for _ in 0..COMMAND_TRIES {
            match give(&self.inner) {
                Err(mdns_sd::Error::Again) => time::sleep(COMMAND_PAUSE).await,
                given => return given.map_err(|error| failed(what, error)),
            }
        }
        Err(failed(what, mdns_sd::Error::Again))
    }
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").finish_non_exhaustive()
    }
}

/// Owns the daemon: it ends when this is dropped.
pub(crate) struct Running(Daemon);

impl std::ops::Deref for Running {
    type Target = Daemon;

    fn deref(&self) -> &Daemon {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn failed(what: &str, error: mdns_sd::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what} with the mDNS daemon")).with_source(error)
}
