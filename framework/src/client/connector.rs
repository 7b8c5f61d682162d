//! How a connection's bytes travel: TCP by default, anything in a simulation.

use std::{fmt, future::Future, io, pin::Pin};

use micro_registry::{Address, Host};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

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

/// TCP without Nagle's algorithm: a call's frames leave at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tcp;

impl Connect for Tcp {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.clone();
        Box::pin(async move {
            // With several addresses behind a name, tokio tries one after the other.
            let stream = match address.host() {
                Host::Name(name) => TcpStream::connect((&**name, address.port())).await?,
                _ => {
                    let address = address
                        .socket_addr()
                        .expect("a host that is no name is an IP address");
                    TcpStream::connect(address).await?
                }
            };
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
