//! Calls for another service, and messages that are too large.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::Request;
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{ServiceBuilder, layer::layer_fn};

use super::support::{Connection, Order, TestServer};
use crate::server::{BoxService, Settings};

const REFUSED: &str = "micro-refused";

fn meant_for(service: &str, text: &str) -> tonic::Request<Order> {
    let mut request = tonic::Request::new(Order::new(text));
    request
        .metadata_mut()
        .insert("micro-service", service.parse().unwrap());
    request
}

fn is_refusal(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && status
            .metadata()
            .get(REFUSED)
            .is_some_and(|value| value == "wrong-service")
}

#[tokio::test]
async fn a_call_for_another_service_is_refused_before_any_layer_of_the_users() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let layer = layer_fn(move |inner: BoxService| {
        let count = Arc::clone(&count);
        ServiceBuilder::new()
            .map_request(move |request: Request<Body>| {
                count.fetch_add(1, Ordering::Relaxed);
                request
            })
            .service(inner)
    });
    let server = TestServer::start_with(Settings::default(), |builder| builder.layer(layer)).await;
    let connection = server.connect().await;

    let status = connection.call(meant_for("other", "hello")).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
    assert!(
        status.message().contains("other") && status.message().contains("echo"),
        "{status}"
    );
    assert_eq!(seen.load(Ordering::Relaxed), 0);

    for request in [
        meant_for("echo", "hello"),
        tonic::Request::new(Order::new("hello")),
    ] {
        assert_eq!(connection.call(request).await.unwrap().into_inner().text, "hello");
    }
    assert_eq!(seen.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn one_right_name_does_not_hide_a_wrong_one() {
    let server = TestServer::start(Settings::default()).await;
    let mut request = meant_for("echo", "hello");
    request
        .metadata_mut()
        .append("micro-service", "other".parse().unwrap());
    let status = server.connect().await.call(request).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
}

#[tokio::test]
async fn health_of_another_service_is_refused_too() {
    let server = TestServer::start(Settings::default()).await;
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("micro-service", "other".parse().unwrap());
    let mut client = HealthClient::new(server.connect().await);
    let status = client.check(request).await.unwrap_err();
    assert!(is_refusal(&status), "{status:?}");
}

#[tokio::test]
async fn a_handler_cannot_claim_to_have_refused() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;

    let status = connection.say("refused").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.metadata().get(REFUSED).is_none());

    let answer = connection
        .call(tonic::Request::new(Order::new("marked")))
        .await
        .unwrap();
    assert!(answer.metadata().get(REFUSED).is_none());

    let request = tonic::Request::new(Order::new("refused"));
    let mut stream = connection.stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap();
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.metadata().get(REFUSED).is_none());
}

async fn connection_with_message_size(message_size_max: usize) -> (TestServer, Connection) {
    let settings = Settings {
        message_size_max,
        ..Settings::default()
    };
    let server = TestServer::start(settings).await;
    let connection = server.connect().await;
    (server, connection)
}

#[tokio::test]
async fn a_message_above_the_lowered_limit_is_resource_exhausted() {
    let (_server, connection) = connection_with_message_size(1000).await;
    let status = connection.say(&"x".repeat(2000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("1000"), "{status}");
    let orders = tokio_stream::iter([Order::new("small"), Order::new("x".repeat(2000))]);
    let status = connection.collect(orders).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert_eq!(connection.say("small").await.unwrap(), "small");
}

#[tokio::test]
async fn the_limit_of_a_message_cannot_be_raised_here() {
    let (_server, connection) = connection_with_message_size(64 * 1024 * 1024).await;
    let status = connection.say(&"x".repeat(5 * 1024 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
}
