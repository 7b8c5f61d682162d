//! A gateway that listens, as `micro gateway` starts it, for what only its server does.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::client::SendRequest;
use http::StatusCode;
use micro::registry::{Registry, Static};
use micro_dynamic::fake::{Fake, Reflection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

use super::support::LONG;
use crate::{Settings, service};

/// A gateway on a port of its own; dropping it ends it.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    running: JoinHandle<()>,
}

impl Served {
    pub(super) async fn start(registry: Arc<dyn Registry>, settings: Settings) -> Self {
        let (tell, started) = oneshot::channel();
        let gateway = service(settings)
            .environment::<String, String>([])
            .address("127.0.0.1:0")
            .registry(registry)
            .after_start(|cx| async move { tell.send(cx.local_address()).map_err(|_| "nobody asks") })
            .build()
            .unwrap();
        let running = tokio::spawn(async move { gateway.run().await.unwrap() });
        let address = timeout(LONG, started).await.unwrap().unwrap().unwrap();
        Self { address, running }
    }

    /// One in front of one server, with what else `settings` say.
    pub(super) async fn with(settings: &str) -> (Self, Fake) {
        let fake = Fake::start(Reflection::V1).await.unwrap();
        let registry: Static = format!("shop={}", fake.address()).parse().unwrap();
        let settings = toml::from_str(&format!("export = ['shop']\n{settings}")).unwrap();
        (Self::start(Arc::new(registry), settings).await, fake)
    }

    /// Sends bytes as they are; all that is answered until the gateway closes the connection.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> String {
        let mut io = TcpStream::connect(self.address).await.unwrap();
        io.write_all(bytes).await.unwrap();
        let mut answer = String::new();
        let read = timeout(LONG, io.read_to_string(&mut answer)).await;
        read.expect("the connection should be closed").unwrap();
        answer
    }

    /// A connection over HTTP/2.
    pub(super) async fn h2(&self) -> H2 {
        let io = TcpStream::connect(self.address).await.unwrap();
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        let connection = tokio::spawn(async move { connection.await.unwrap_or_default() });
        H2 { requests, connection }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A connection over HTTP/2; dropping it ends it.
pub(super) struct H2 {
    requests: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

impl H2 {
    /// Sends a request, and takes the answer in whole.
    pub(super) async fn send(&self, request: http::request::Builder, body: &str) -> (StatusCode, String) {
        let exchange = async {
            let mut requests = self.requests.clone().ready().await.unwrap();
            let request = request.body(()).unwrap();
            let (response, mut sender) = requests.send_request(request, false).unwrap();
            sender.send_data(body.to_owned().into(), true).unwrap();
            let response = response.await.unwrap();
            let (status, mut body) = (response.status(), response.into_body());
            let mut text = Vec::new();
            while let Some(data) = body.data().await {
                let data = data.unwrap();
                text.extend_from_slice(&data);
                body.flow_control().release_capacity(data.len()).unwrap();
            }
            (status, String::from_utf8(text).unwrap())
        };
        timeout(LONG, exchange).await.expect("there should be an answer")
    }
}

impl Drop for H2 {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
