//! The gateway in this process, between an HTTP client and another service in place of `{{callee_name}}`.

mod proto {
    micro::include_proto!("{{callee_crate_name}}");
}

use std::{net::SocketAddr, sync::Arc, time::Duration};

use micro::{Service, ServiceBuilder, registry::Memory};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};
use tonic::{Request, Response, Status};

use proto::{
    HelloReply, HelloRequest,
    say_server::{Say, SayServer},
};

/// The service that `micro.toml` exports.
const CALLEE: &str = "{{callee_name}}";

/// Who stands in for it.
struct Mirror;

#[tonic::async_trait]
impl Say for Mirror {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let HelloRequest { name } = request.into_inner();
        if name.is_empty() {
            return Err(Status::invalid_argument("`name` is empty"));
        }
        Ok(Response::new(HelloReply {
            message: format!("Hello {name}"),
        }))
    }
}

/// Runs a service until the test's runtime ends, and answers where it listens.
async fn run(service: ServiceBuilder, registry: &Arc<Memory>) -> SocketAddr {
    let (started, has_started) = oneshot::channel();
    let service = service
        .address("127.0.0.1:0")
        .registry(registry.clone())
        .after_start(|cx| async move { started.send(cx.local_address()).unwrap() })
        .drain_delay(Duration::ZERO)
        .without_signals()
        .build()
        .unwrap();
    tokio::spawn(service.run());
    has_started.await.unwrap().unwrap()
}

/// The answer to one request, as a whole.
async fn post(gateway: SocketAddr, path: &str, json: &str) -> String {
    let mut socket = TcpStream::connect(gateway).await.unwrap();
    let length = json.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_exported_answers_and_nothing_else_does() {
    let registry = Arc::new(Memory::default());
    let mirror = Service::builder(CALLEE)
        .add_service(SayServer::new(Mirror))
        .descriptors(proto::FILE_DESCRIPTOR_SET);
    run(mirror, &registry).await;
    let gateway = run(crate::service(crate::settings().unwrap()), &registry).await;
    let hello = format!("/{CALLEE}/say/hello");

    let ada = post(gateway, &hello, r#"{"name":"Ada"}"#).await;
    assert!(ada.starts_with("HTTP/1.1 200 OK\r\n"), "{ada}");
    assert!(ada.ends_with(r#"{"message":"Hello Ada"}"#), "{ada}");
    let nobody = post(gateway, &hello, "{}").await;
    assert!(nobody.starts_with("HTTP/1.1 400 "), "{nobody}");
    let other = post(gateway, "/other/say/hello", "{}").await;
    assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
}
