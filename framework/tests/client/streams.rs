//! Streams through the same picks, and layers of the user's around every call.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use micro::Client;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::support::{Behaviour, FakeNode, HELLO, client, hello, registry_of};

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
