//! A server with one gRPC service whose behaviour a request chooses, and one client connection to it.

mod connection;
mod echo;

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{
    io::DuplexStream,
    net::TcpStream,
    sync::{Notify, mpsc, watch},
    time::{Duration, timeout},
};

pub(super) use self::{
    connection::Connection,
    echo::{ECHO, Echo, Order, descriptors, detail},
};
use crate::server::{Listener, Server, ServerBuilder, Settings, bind};

/// Longer than anything takes on a loaded machine; only a failing test waits for it.
pub(super) const LONG: Duration = Duration::from_secs(60);

/// Bytes that fit between the ends of a connection in memory.
const BUFFER: usize = 64 * 1024;

/// A server that runs, and the handlers that run in it.
pub(super) struct TestServer {
    pub(super) server: Server,
    pub(super) running: watch::Receiver<usize>,
    pub(super) released: Arc<Notify>,
    dial: Option<Dial>,
}

/// The way to a server in memory.
type Dial = mpsc::UnboundedSender<DuplexStream>;

/// The builder of a server named `echo` with the service [`Echo`].
pub(super) fn builder(settings: Settings, echo: Echo) -> ServerBuilder {
    ServerBuilder::new("echo".parse().unwrap(), settings)
        .add_service(echo)
        .descriptors(descriptors())
}

impl TestServer {
    /// Serves on loopback.
    pub(super) async fn start(settings: Settings) -> Self {
        Self::start_with(settings, |builder| builder).await
    }

    pub(super) async fn start_with(
        settings: Settings,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let echo = Echo::default();
        let builder = change(builder(settings, echo.clone()));
        let listener = bind("127.0.0.1:0").await.unwrap();
        let server = builder.build().unwrap().start(listener).unwrap();
        Self {
            server,
            running: echo.running.subscribe(),
            released: echo.released,
            dial: None,
        }
    }

    /// Serves in memory, so that time can be stopped.
    pub(super) fn start_in_memory(settings: Settings) -> Self {
        Self::start_in_memory_with(settings, |builder| builder)
    }

    pub(super) fn start_in_memory_with(
        settings: Settings,
        change: impl FnOnce(ServerBuilder) -> ServerBuilder,
    ) -> Self {
        let echo = Echo::default();
        let (dial, dialled) = mpsc::unbounded_channel();
        let server = change(builder(settings, echo.clone()))
            .build()
            .unwrap()
            .start(InMemory(dialled))
            .unwrap();
        Self {
            server,
            running: echo.running.subscribe(),
            released: echo.released,
            dial: Some(dial),
        }
    }

    /// A connection that speaks HTTP/2.
    pub(super) async fn connect(&self) -> Connection {
        match &self.dial {
            Some(_) => Connection::over(self.dial()).await,
            None => Connection::over(self.tcp().await).await,
        }
    }

    /// The client's end of a connection in memory.
    pub(super) fn dial(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(BUFFER);
        self.hand_over(far);
        near
    }

    /// Lets the server accept this end of a connection.
    pub(super) fn hand_over(&self, far: DuplexStream) {
        self.dial.as_ref().unwrap().send(far).unwrap();
    }

    pub(super) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.server.local_address()).await.unwrap()
    }

    /// Waits until as many handlers run, those of open streams included.
    pub(super) async fn running(&mut self, handlers: usize) {
        timeout(LONG, self.running.wait_for(|running| *running == handlers))
            .await
            .unwrap_or_else(|_| panic!("{handlers} handlers should run"))
            .unwrap();
    }
}

/// Connections that never leave the process.
struct InMemory(mpsc::UnboundedReceiver<DuplexStream>);

#[async_trait::async_trait]
impl Listener for InMemory {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.0.recv().await {
            Some(io) => Ok((io, self.local_address()?)),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}
