//! How a connection's bytes travel: TCP by default, to addresses that may be called; anything in a simulation.

use std::{
    fmt,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
};

use micro_registry::{Address, Error, ErrorKind, Host, SkippedRecords};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};

use super::reach::{Reach, is_registry};

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// A stream of bytes to a node.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The future of [`Connect::connect`].
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Io>>> + Send>>;

/// Opens a stream of bytes to a node, so that a simulated network can run a client.
pub trait Connect: fmt::Debug + Send + Sync + 'static {
    /// Opens a stream to `address`; the client bounds the time.
    fn connect(&self, address: &Address) -> Connecting;
}

/// Asks for the addresses of a name.
pub(super) trait Resolve: fmt::Debug + Send + Sync + 'static {
    /// The addresses of `name`, in the order in which they are tried.
    fn resolve(&self, name: &str) -> Resolving;
}

/// The future of [`Resolve::resolve`].
pub(super) type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Asks the system, as every program of the host does.
#[derive(Clone, Copy, Debug)]
struct System;

impl Resolve for System {
    fn resolve(&self, name: &str) -> Resolving {
        let name = name.to_owned();
        Box::pin(async move {
            let found = lookup_host((name, 0)).await?;
            Ok(found.take(ADDRESSES_MAX).map(|address| address.ip()).collect())
        })
    }
}

/// TCP without Nagle's algorithm: a call's frames leave at once.
///
/// A name is resolved anew for each connection, and it is the address that was checked that is connected to: a name
/// whose address changes in between leads nowhere else.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    gate: Arc<Gate>,
}

/// Another connector, before which the addresses that are no names are checked.
#[derive(Debug)]
pub(super) struct Checked {
    connector: Arc<dyn Connect>,
    gate: Arc<Gate>,
}

/// What lets through the addresses that may be called.
#[derive(Debug)]
struct Gate {
    reach: Reach,
    resolver: Box<dyn Resolve>,
    skipped: SkippedRecords,
}

impl Tcp {
    /// `registry` is the name of what the addresses come from.
    pub(super) fn new(reach: Reach, registry: &'static str) -> Self {
        let gate = Arc::new(Gate::new(reach, registry, System));
        Self { gate }
    }
}

impl Checked {
    pub(super) fn new(connector: Arc<dyn Connect>, reach: Reach, registry: &'static str) -> Self {
        let gate = Arc::new(Gate::new(reach, registry, System));
        Self { connector, gate }
    }
}

impl Connect for Tcp {
    fn connect(&self, address: &Address) -> Connecting {
        let (gate, address) = (Arc::clone(&self.gate), address.clone());
        Box::pin(async move {
            let mut failure = None;
            for checked in gate.checked(&address).await? {
                match TcpStream::connect(checked).await {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(Box::new(stream) as Box<dyn Io>);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            Err(failure.unwrap_or_else(|| io::Error::other("the name has no address")))
        })
    }
}

impl Connect for Checked {
    fn connect(&self, address: &Address) -> Connecting {
        let (gate, connector) = (Arc::clone(&self.gate), Arc::clone(&self.connector));
        let address = address.clone();
        Box::pin(async move {
            // What a name means is this connector's own business.
            if address.socket_addr().is_some() {
                gate.checked(&address).await?;
            }
            connector.connect(&address).await
        })
    }
}

impl Gate {
    fn new(reach: Reach, registry: &'static str, resolver: impl Resolve) -> Self {
        Self {
            reach,
            resolver: Box::new(resolver),
            skipped: SkippedRecords::new(registry),
        }
    }

    /// The addresses of `address` that may be called. That there is none is an error, and worth a warning.
    async fn checked(&self, address: &Address) -> io::Result<Vec<SocketAddr>> {
        let port = address.port();
        let mut refusal = None;
        let mut checked = Vec::new();
        for ip in self.resolve(address.host()).await? {
            let candidate = SocketAddr::new(ip, port);
            match self.check(candidate).await {
                Ok(()) => checked.push(candidate),
                Err(reason) => refusal = Some(reason),
            }
        }
        match refusal {
            Some(reason) if checked.is_empty() => {
                let message = format!("not called: {reason}");
                let error = Error::new(ErrorKind::PermissionDenied, message.clone());
                self.skipped.skip(&address.to_string(), &error);
                Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
            }
            _ => Ok(checked),
        }
    }

    async fn check(&self, candidate: SocketAddr) -> Result<(), String> {
        self.reach.check(candidate.ip())?;
        for registry in self.reach.registries_at(candidate.port()) {
            // A name that does not resolve now is nobody's address.
            let ips = self.resolve(registry.host()).await.unwrap_or_default();
            let mut sockets = ips.into_iter().map(|ip| SocketAddr::new(ip, registry.port()));
            if sockets.any(|socket| is_registry(candidate, socket)) {
                return Err(format!("the registry itself is at {registry}"));
            }
        }
        Ok(())
    }

    async fn resolve(&self, host: &Host) -> io::Result<Vec<IpAddr>> {
        match host {
            Host::Ip(ip) => Ok(vec![*ip]),
            host => self.resolver.resolve(&host.to_string()).await,
        }
    }
}

#[cfg(test)]
mod tests;
