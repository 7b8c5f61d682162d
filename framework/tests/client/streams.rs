//! Streams through the same picks, and layers of the user's around every call.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::BodyExt;
use micro::{Channel, Client, registry::Registry};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Streaming, body::Body, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;
use tower::ServiceExt;

use crate::support::{Behaviour, FakeNode, HELLO, TTL, client, eventually, hello, node, registry_of};

#[tokio::test]
async fn a_client_s_stream_is_sent_and_refused_once_too_much_of_it_was_sent() {
    let refusing = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&refusing]).await);
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let call = tokio::spawn({
        let mut grpc = Grpc::new(channel.clone());
        async move {
            grpc.ready().await.unwrap();
            let codec = ProstCodec::<String, String>::default();
            let path = PathAndQuery::from_static(HELLO);
            grpc.client_streaming(Request::new(ReceiverStream::new(receiver)), path, codec)
                .await
        }
    });
    for _ in 0..8 {
        sender.send("x".repeat(32 * 1024)).await.unwrap();
    }
    drop(sender);
    assert_eq!(call.await.unwrap().unwrap().into_inner(), "a");
}

#[tokio::test]
async fn an_endless_request_stream_of_a_dead_node_fails_unavailable() {
    let mut fake = FakeNode::start("a", Behaviour::Hang).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let call = tokio::spawn({
        let mut grpc = Grpc::new(channel.clone());
        async move {
            grpc.ready().await.unwrap();
            let codec = ProstCodec::<String, String>::default();
            let path = PathAndQuery::from_static(HELLO);
            grpc.client_streaming(Request::new(ReceiverStream::new(receiver)), path, codec)
                .await
        }
    });
    for _ in 0..8 {
        sender.send("x".repeat(32 * 1024)).await.unwrap();
    }
    fake.kill().await;
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
}

/// How many calls the only node has.
async fn in_flight(channel: &Channel) -> u32 {
    channel.endpoints().await.unwrap()[0].in_flight
}

/// A stream of the server's that has begun.
async fn greetings(channel: &Channel) -> Streaming<String> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<String, String>::default();
    let path = PathAndQuery::from_static("/greeter.Say/Greetings");
    let answer = grpc.server_streaming(Request::new("Ada".to_owned()), path, codec);
    answer.await.unwrap().into_inner()
}

/// Takes what comes of a stream that has begun: it counts until its end, however long its caller keeps it.
async fn counts_until_its_end(mut stream: Streaming<String>, node: &FakeNode, channel: &Channel) {
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("a"));
    assert_eq!(in_flight(channel).await, 1);
    node.tell(Behaviour::Answer);
    assert_eq!(stream.message().await.unwrap(), None);
    assert_eq!(in_flight(channel).await, 0);
    drop(stream);
    assert_eq!(in_flight(channel).await, 0);
}

#[tokio::test]
async fn a_server_s_stream_counts_as_a_call_until_its_end() {
    let node = FakeNode::start("a", Behaviour::Follow).await;
    let (_client, channel) = client(registry_of([&node]).await);
    let stream = greetings(&channel).await;
    counts_until_its_end(stream, &node, &channel).await;
}

#[tokio::test]
async fn a_stream_of_both_counts_as_a_call_until_its_end() {
    let node = FakeNode::start("a", Behaviour::Follow).await;
    let (_client, channel) = client(registry_of([&node]).await);
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let codec = ProstCodec::<String, String>::default();
    let path = PathAndQuery::from_static("/greeter.Say/Chat");
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    sender.send("Ada".to_owned()).await.unwrap();
    let answer = grpc.streaming(Request::new(ReceiverStream::new(receiver)), path, codec);
    let stream = answer.await.unwrap().into_inner();
    assert_eq!(in_flight(&channel).await, 1);
    // The end of what is sent is not the end of the call.
    drop(sender);
    eventually("the request was read", async || node.executions() == 1).await;
    counts_until_its_end(stream, &node, &channel).await;
}

#[tokio::test]
async fn a_stream_that_is_dropped_counts_no_more() {
    let node = FakeNode::start("a", Behaviour::Follow).await;
    let (_client, channel) = client(registry_of([&node]).await);
    let mut stream = greetings(&channel).await;
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("a"));
    assert_eq!(in_flight(&channel).await, 1);
    drop(stream);
    assert_eq!(in_flight(&channel).await, 0);
}

/// Answers the first calls without end, with as much as it may send, and those after them with an empty message.
async fn pour(listener: TcpListener, endless: usize, poured: Arc<AtomicUsize>) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut connection = h2::server::handshake(stream).await.unwrap();
    let mut calls = 0;
    while let Some(Ok((_request, mut respond))) = connection.accept().await {
        calls += 1;
        let head = http::Response::builder().header("content-type", "application/grpc");
        let mut body = respond.send_response(head.body(()).unwrap(), false).unwrap();
        if calls > endless {
            body.send_data(Bytes::from_static(&[0; 5]), true).unwrap();
            continue;
        }
        let poured = Arc::clone(&poured);
        // Each ends with the connection.
        tokio::spawn(async move {
            body.reserve_capacity(1024);
            while let Some(Ok(room)) = poll_fn(|cx| body.poll_capacity(cx)).await {
                body.send_data(Bytes::from(vec![0; room]), false).unwrap();
                poured.fetch_add(room, Ordering::SeqCst);
                body.reserve_capacity(1024);
            }
        });
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_up_no_others() {
    const WINDOW: u32 = 100_000;
    const UNREAD: usize = 100;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = registry_of([]).await;
    let pouring = node("a", &listener.local_addr().unwrap().to_string());
    registry.register(&pouring, TTL).await.unwrap();
    let poured = Arc::<AtomicUsize>::default();
    let server = tokio::spawn(pour(listener, UNREAD, Arc::clone(&poured)));
    let client = Client::builder(registry)
        .stream_window(WINDOW)
        .request_timeout(Duration::from_secs(600))
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    let call = async || {
        let request = http::Request::post(HELLO).body(Body::empty()).unwrap();
        channel.clone().oneshot(request).await.unwrap().into_body()
    };
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(call().await);
    }
    eventually("each answer has all that may wait for its reader", async || {
        poured.load(Ordering::SeqCst) == UNREAD * WINDOW as usize
    })
    .await;
    let data = call().await.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((data.len(), unread.len()), (5, UNREAD));
    server.abort();
}

#[tokio::test]
async fn a_window_that_http_2_does_not_have_is_refused() {
    for (window, expected) in [(0, "is 0"), (1 << 31, "at most 2147483647 bytes")] {
        let refused = Client::builder(registry_of([]).await)
            .stream_window(window)
            .build();
        let told = refused.unwrap_err().to_string();
        assert!(
            told.contains("stream_window") && told.contains(expected),
            "{told}"
        );
    }
}

/// Counts calls, and answers in the order in which the layers stand.
#[derive(Clone)]
struct Counting<S> {
    inner: S,
    seen: Arc<AtomicUsize>,
    expected: usize,
}

impl<S, B> tower::Service<http::Request<B>> for Counting<S>
where
    S: tower::Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> S::Future {
        assert_eq!(self.seen.fetch_add(1, Ordering::SeqCst) % 2, self.expected);
        self.inner.call(request)
    }
}

#[tokio::test]
async fn layers_of_the_user_meet_every_call_in_their_order() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let seen = Arc::new(AtomicUsize::new(0));
    let counting = |expected| {
        let seen = Arc::clone(&seen);
        tower::layer::layer_fn(move |inner| Counting {
            inner,
            seen: Arc::clone(&seen),
            expected,
        })
    };
    let client = Client::builder(registry_of([&fake]).await)
        .layer(counting(0))
        .layer(counting(1))
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    hello(&channel).await.unwrap();
    hello(&channel).await.unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 4);
}
