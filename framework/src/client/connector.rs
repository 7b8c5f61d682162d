//! How a connection's bytes travel: TCP by default, to addresses that may be called; anything in a simulation.

mod gate;

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin, sync::Arc};

use micro_registry::{Address, Node};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use self::gate::{Gate, System};
use super::reach::Reach;

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

/// Connects to nodes, at addresses that may be called.
///
/// A name is resolved anew for each connection, and it is the address that was checked that is connected to: a name
/// whose address changes in between leads nowhere else.
#[derive(Debug)]
pub(super) struct Connector {
    gate: Gate,
    /// Instead of TCP.
    other: Option<Arc<dyn Connect>>,
}

impl Connector {
    /// `other` instead of TCP, if there is any; `registry` is the name of what the addresses come from.
    pub(super) fn new(other: Option<Arc<dyn Connect>>, reach: Reach, registry: &'static str) -> Self {
        Self {
            gate: Gate::new(reach, registry, System),
            other,
        }
    }

    /// Opens a stream to `node`.
    pub(super) async fn connect(&self, node: &Node) -> io::Result<Box<dyn Io>> {
        let Some(other) = &self.other else {
            return tcp(self.gate.checked(node).await?).await;
        };
        // What a name means is this connector's own business.
        if node.address().socket_addr().is_some() {
            self.gate.checked(node).await?;
        }
        other.connect(node.address()).await
    }
}

/// TCP to the first of `addresses` that takes it, without Nagle's algorithm: a call's frames leave at once.
async fn tcp(addresses: Vec<SocketAddr>) -> io::Result<Box<dyn Io>> {
    let mut failure = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Box::new(stream));
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| io::Error::other("the name has no address")))
}

#[cfg(test)]
mod tests;
