//! How client and service reach the simulated network: through the seams that are there for every transport.

use std::{io, net::SocketAddr};

use async_trait::async_trait;
use micro::{Connect, Connecting, Io, Listener, registry::Address};
use turmoil::net::{TcpListener, TcpStream};

/// Where every simulated service listens.
const PORT: u16 = 9000;

/// Connects over the simulated network.
#[derive(Debug)]
pub(crate) struct Simulated;

impl Connect for Simulated {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.to_string();
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}

/// Listens on the simulated network.
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Listens on the host that this runs on, whose name is `host`.
    pub(crate) async fn on(host: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
        let address = SocketAddr::new(turmoil::lookup(host), PORT);
        Ok(Self { listener, address })
    }
}

#[async_trait]
impl Listener for Listening {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}
