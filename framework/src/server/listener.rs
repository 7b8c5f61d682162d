//! Where connections come from: TCP, or whatever a test or a simulation puts in its place.

use std::{io, net::SocketAddr};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
};

use crate::{Error, ErrorKind, Result};

/// A source of connections: the transport of the server.
///
/// A [`TcpListener`] is one; tests and simulated networks bring their own.
///
/// ```
/// use std::{io, net::SocketAddr};
///
/// use micro::Listener;
/// use tokio::{io::DuplexStream, sync::mpsc};
///
/// /// Connections that never leave the process.
/// struct InProcess(mpsc::Receiver<DuplexStream>);
///
/// #[async_trait::async_trait]
/// impl Listener for InProcess {
///     type Io = DuplexStream;
///
///     async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
///         let Some(io) = self.0.recv().await else {
///             return std::future::pending().await;
///         };
///         Ok((io, SocketAddr::from(([127, 0, 0, 1], 0))))
///     }
///
///     fn local_address(&self) -> io::Result<SocketAddr> {
///         Ok(SocketAddr::from(([127, 0, 0, 1], 0)))
///     }
/// }
/// ```
#[async_trait]
pub trait Listener: Send + 'static {
    /// One connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection, and gives it with the address of its peer.
    ///
    /// Dropping the returned future loses no connection.
    ///
    /// # Errors
    ///
    /// What the system says, such as too many open files. The server pauses and asks again: no error ends it.
    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)>;

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// When the system does not tell.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

#[async_trait]
impl Listener for TcpListener {
    type Io = tokio::net::TcpStream;

    async fn accept(&mut self) -> io::Result<(Self::Io, SocketAddr)> {
        let (io, peer) = TcpListener::accept(self).await?;
        // A small answer must not wait for more to send. It fails only if the peer is gone, which reading will tell.
        let _ = io.set_nodelay(true);
        Ok((io, peer))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// Listens on `address`, a host or an IP and a port; port 0 lets the system choose.
pub(crate) async fn bind(address: &str) -> Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Error::new(ErrorKind::Server, format!("listen on `{address}`")).with_source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_a_server_error_that_names_it() {
        let taken = bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_address().unwrap().to_string();
        let error = bind(&address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server);
        assert!(error.to_string().contains(&address), "{error}");
    }
}
