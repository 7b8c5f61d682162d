//! TLS before a connection is served: bounded in time, and told when it fails.

use std::{
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, timeout},
};
use tracing::{debug, warn};

use super::accept::Refused;
use crate::{
    telemetry::Telemetry,
    tls::{Caller, Secured, ServerTls},
};

/// Shakes hands with those who connect.
#[derive(Debug)]
pub(super) struct Securing {
    tls: ServerTls,
    failed: Mutex<Refused>,
}

impl Securing {
    pub(super) fn new(tls: ServerTls, telemetry: &Telemetry) -> Self {
        Self {
            tls,
            failed: Mutex::new(Refused::new(telemetry, "tls")),
        }
    }

    /// The connection after its handshake, and who calls if it has shown that; `None` when it failed, or took too long.
    pub(super) async fn secure<Io>(
        &self,
        io: Io,
        peer: SocketAddr,
        patience: Duration,
    ) -> Option<(Secured<Io>, Option<Caller>)>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let failure = match timeout(patience, self.tls.accept(io)).await {
            Ok(Ok(secured)) => return Some(secured),
            Ok(Err(failure)) => failure,
            Err(_elapsed) => io::Error::new(io::ErrorKind::TimedOut, "it took too long"),
        };
        debug!(%peer, error = %failure, "a handshake of TLS failed");
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = failed.again() {
            warn!(%peer, times, error = %failure, "closed connections whose handshake of TLS failed");
        }
        None
    }
}
