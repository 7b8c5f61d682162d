//! What breaks around a client, from a backend that panics to a server that ends each connection, breaks no other call.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::BodyExt;
use micro::{
    CallOptions, Client, Connect, Connecting, Io,
    registry::{Address, Memory, Node, Registry, Result, Snapshot, Watcher},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tonic::{Code, body::Body};
use tower::Service;

use crate::support::{
    Behaviour, FakeNode, HELLO, TTL, both_are_connected, client, eventually, hello, load, node, registry_of,
};

/// A memory registry whose first watch panics.
#[derive(Debug, Default)]
struct Panicking {
    memory: Memory,
    panicked: AtomicBool,
}

#[async_trait]
impl Registry for Panicking {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.memory.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.memory.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.memory.get_service(service).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.memory.list_services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        assert!(self.panicked.swap(true, Ordering::SeqCst), "a bad backend");
        self.memory.watch(service).await
    }

    fn name(&self) -> &'static str {
        "panicking"
    }
}

/// TCP whose first connect panics.
#[derive(Debug, Default)]
struct PanickingConnector {
    panicked: AtomicBool,
}

impl Connect for PanickingConnector {
    fn connect(&self, address: &Address) -> Connecting {
        let (first, address) = (!self.panicked.swap(true, Ordering::SeqCst), address.to_string());
        Box::pin(async move {
            assert!(!first, "a bad connector");
            Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Io>)
        })
    }
}

#[tokio::test]
async fn a_registry_that_panics_is_watched_again() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let registry = Arc::new(Panicking::default());
    registry.register(&fake.node, TTL).await.unwrap();
    let (_client, channel) = client(registry);
    assert_eq!(hello(&channel).await.unwrap(), "a");
}

#[tokio::test]
async fn a_control_runtime_that_ends_takes_no_node() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let client = Client::builder(registry_of([&fake]).await)
        .control(control.handle().clone())
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    assert_eq!(hello(&channel).await.unwrap(), "a");
    control.shutdown_background();
    let (_, failures) = load(&channel, 200, 4).await;
    assert!(failures.is_empty(), "{failures:?}");
    fake.tell(Behaviour::Restless);
    let (_, failures) = load(&channel, 200, 4).await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn a_connect_that_panics_is_tried_again() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let client = Client::builder(registry_of([&fake]).await)
        .connector(PanickingConnector::default())
        .build()
        .unwrap();
    assert_eq!(hello(&client.channel("greeter")).await.unwrap(), "a");
}

#[tokio::test]
async fn times_without_end_are_taken() {
    let [a, b, c] = ["a", "b", "c"].map(|id| FakeNode::start(id, Behaviour::Answer));
    let (a, b, c) = (a.await, b.await, c.await);
    let registry = registry_of([&a, &b]).await;
    let client = Client::builder(registry.clone())
        .connect_timeout(Duration::MAX)
        .hold_down(Duration::MAX)
        .keepalive(Duration::MAX, Duration::MAX)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    both_are_connected(&channel).await;
    for fake in [&a, &b] {
        registry.deregister(&fake.node).await.unwrap();
    }
    registry.register(&c.node, TTL).await.unwrap();
    eventually("the new one is called", async || {
        load(&channel, 20, 4).await.0.contains_key("c")
    })
    .await;
}

/// Accepts for ever; answers the first request of each connection by a GOAWAY that refuses it.
async fn leave_always(listener: TcpListener, accepted: Arc<AtomicUsize>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        let _ = leave(&mut stream).await;
    }
}

async fn leave(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?; // SETTINGS
    stream.read_exact(&mut [0; 24]).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        stream.read_exact(&mut vec![0; length]).await?;
        if head[3] == 1 {
            // HEADERS: GOAWAY with last stream 0 says that it is not processed.
            let goaway = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            return stream.write_all(&goaway).await;
        }
    }
}

#[tokio::test]
async fn a_server_that_ends_each_connection_before_it_answers_is_not_hammered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = registry_of([]).await;
    let leaving = node("leaving", &listener.local_addr().unwrap().to_string());
    registry.register(&leaving, TTL).await.unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let server = tokio::spawn(leave_always(listener, Arc::clone(&accepted)));
    let (_client, channel) = client(registry);
    let channel = channel.options(CallOptions::new().timeout(Duration::from_secs(1)));
    let status = hello(&channel).await.unwrap_err();
    server.abort();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    // 0, 0.1, 0.26, 0.52 and 0.93 s, give or take a fifth.
    let accepted = accepted.load(Ordering::SeqCst);
    assert!(accepted <= 8, "connected {accepted} times in a second");
}

/// Answers one request by headers, and sends the rest when it is told to.
async fn answer_in_parts(listener: TcpListener, rest: oneshot::Receiver<()>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
    let head = http::Response::builder().header("content-type", "application/grpc");
    let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
    tokio::spawn(async move {
        rest.await.unwrap();
        body.send_data(Bytes::from_static(&[0, 0, 0, 0, 0]), true)
            .unwrap();
    });
    // Ends with the connection.
    while connection.accept().await.is_some() {}
}

#[tokio::test]
async fn a_stream_outlives_its_client_and_then_its_connection_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = registry_of([]).await;
    let streaming = node("a", &listener.local_addr().unwrap().to_string());
    registry.register(&streaming, TTL).await.unwrap();
    let (tell, told) = oneshot::channel();
    let server = tokio::spawn(answer_in_parts(listener, told));
    let (client, mut channel) = client(registry);
    let request = http::Request::post(HELLO).body(Body::empty()).unwrap();
    let mut answer = channel.call(request).await.unwrap().into_body();
    drop((client, channel));
    tell.send(()).unwrap();
    let data = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(data.len(), 5);
    drop(answer);
    server.await.unwrap();
}

#[tokio::test]
async fn details_of_a_failure_that_cannot_be_read_leave_its_code_and_message() {
    for in_trailers in [false, true] {
        let fake = FakeNode::start("a", Behaviour::Garbled { in_trailers }).await;
        let (_client, channel) = client(registry_of([&fake]).await);
        let status = hello(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
        assert_eq!(
            status.message().contains("no such name"),
            !in_trailers,
            "{status}"
        );
        assert!(status.details().is_empty());
        fake.tell(Behaviour::Answer);
        assert_eq!(hello(&channel).await.unwrap(), "a");
    }
}
