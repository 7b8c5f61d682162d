//! A handler that panics fails its call and nothing else.

use http::{Request, Response};
use tonic::{Code, body::Body};
use tower::{layer::layer_fn, util::BoxCloneSyncService};
use tower_service::Service;

use super::support::{Order, TestServer};
use crate::server::{BoxService, Settings};

fn order(text: &str) -> tonic::Request<Order> {
    tonic::Request::new(Order::new(text))
}

#[tokio::test]
async fn a_panic_in_a_call_is_internal_without_its_text() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut bystander = connection.stream(order("never")).await.unwrap().into_inner();
    assert_eq!(bystander.message().await.unwrap().unwrap().text, "first");

    let status = connection.say("panic").await.unwrap_err();

    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("secret"), "{status}");
    assert_eq!(connection.say("still here").await.unwrap(), "still here");
    // The stream next to it goes on.
    server.running(1).await;
}

#[tokio::test]
async fn a_panic_in_a_stream_ends_it_with_internal() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut stream = connection.stream(order("panic")).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("secret"), "{status}");
    server.running(0).await;
    assert_eq!(connection.say("still here").await.unwrap(), "still here");
}

/// A service that panics before it gives a future.
#[derive(Clone)]
struct Hasty;

impl Service<Request<Body>> for Hasty {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("the secret of a layer")
    }
}

#[tokio::test]
async fn a_panic_of_a_layer_is_internal_and_the_connection_lives() {
    let server = TestServer::start_with(Settings::default(), |builder| {
        builder.layer(layer_fn(|_: BoxService| BoxCloneSyncService::new(Hasty)))
    })
    .await;
    let connection = server.connect().await;
    for _ in 0..2 {
        let status = connection.say("hello").await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"), "{status}");
    }
}
