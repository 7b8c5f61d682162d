//! The server: gRPC, health, reflection and the probes on one port, with a stop that ends in time.
//!
//! It knows nothing of registries and clients. [`ServerBuilder`] collects and checks, [`UnboundServer`] is complete,
//! [`Server`] runs.

#![allow(
    dead_code,
    unused_imports,
    reason = "the service that joins server and client is the one caller"
)]

mod accept;
mod adaptive;
mod addresses;
mod builder;
mod connection;
mod heads;
mod health;
mod layers;
mod listener;
mod load;
mod metrics;
mod opening;
mod patient;
mod reflection;
mod route;
mod securing;
mod sending;
mod settings;
mod stack;
#[cfg(test)]
mod tests;
mod web;

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::time::{Duration, timeout};
use tokio_util::sync::DropGuard;
use tracing::warn;

pub(crate) use builder::{ServerBuilder, UnboundServer};
pub(crate) use health::Health;
pub(crate) use layers::handlers::{BoxError, BoxService};
pub use listener::Listener;
pub(crate) use listener::bind;
pub(crate) use settings::Settings;
pub use web::HttpRoute;

use self::{connection::Connections, metrics::OPEN_CONNECTIONS, securing::Securing};
use crate::{Error, ErrorKind, Result, control::Owned};

/// How long connections that were cut may take to let go of what they hold.
const CUT_WAIT: Duration = Duration::from_millis(500);

/// A server that runs. Dropping it cuts everything at once; [`drain`](Self::drain) is the way to stop it.
pub(crate) struct Server {
    address: SocketAddr,
    health: Health,
    connections: Arc<Connections>,
    accepting: Option<Owned<()>>,
    _cut_on_drop: DropGuard,
}

impl Server {
    fn start<L: Listener>(listener: L, unbound: UnboundServer) -> Result<Self> {
        let UnboundServer {
            stack,
            health,
            settings,
            telemetry,
            tls,
            ..
        } = unbound;
        let address = listener.local_address().map_err(|error| {
            Error::new(ErrorKind::Server, "ask for the address that is listened on").with_source(error)
        })?;
        let securing = tls.map(|tls| Securing::new(tls, &telemetry));
        let connections = Arc::new(Connections::new(stack, settings, address, securing));
        let (gauge, open) = (telemetry.gauge(OPEN_CONNECTIONS, &[]), connections.open.clone());
        telemetry.observe(move || gauge.set(open.len() as f64));
        let accepting = tokio::spawn(accept::accept(listener, Arc::clone(&connections), telemetry));
        Ok(Self {
            address,
            health,
            _cut_on_drop: connections.cut.clone().drop_guard(),
            connections,
            accepting: Some(Owned(accepting)),
        })
    }

    /// The address listened on, with the port that the system chose if it was to choose.
    pub(crate) fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// The state that health answers.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// Waits until the server accepts no more although nobody stopped it: for ever, if all is well.
    ///
    /// Errors of accepting do not end it, so this is a panic of the listener.
    pub(crate) async fn failed(&mut self) -> Error {
        if let Some(accepting) = &mut self.accepting {
            let ended = (&mut accepting.0).await;
            self.accepting = None;
            if let Err(error) = ended {
                let message = format!("accept connections on {}", self.address);
                return Error::new(ErrorKind::Server, message).with_source(error);
            }
        }
        std::future::pending().await
    }

    /// Stops: accepts no more, ends health watches, tells every connection to go, lets calls finish for `drain_timeout`,
    /// and cuts what is left then.
    ///
    /// It returns soon after `drain_timeout` whatever clients and handlers do. A handler that blocks its thread cannot
    /// be cut by anything, and is left behind.
    pub(crate) async fn drain(&mut self, drain_timeout: Duration) {
        self.connections.leave.cancel();
        self.health.end_watches();
        if timeout(drain_timeout, self.finished()).await.is_ok() {
            return;
        }
        let connections = self.connections.open.len();
        let calls = self.connections.calls.len();
        warn!(
            connections,
            calls, "cut what did not finish within the drain timeout"
        );
        self.connections.cut.cancel();
        if timeout(CUT_WAIT, self.finished()).await.is_err() {
            let calls = self.connections.calls.len();
            warn!(calls, "handlers that block their threads are left behind");
        }
    }

    /// Waits until nothing is accepted, no connection is open and no call runs.
    async fn finished(&mut self) {
        if let Some(accepting) = &mut self.accepting {
            // A panic has ended it as well.
            let _ = (&mut accepting.0).await;
            self.accepting = None;
        }
        for tasks in [&self.connections.open, &self.connections.calls] {
            tasks.close();
            tasks.wait().await;
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("connections", &self.connections.open.len())
            .field("calls", &self.connections.calls.len())
            .finish_non_exhaustive()
    }
}
