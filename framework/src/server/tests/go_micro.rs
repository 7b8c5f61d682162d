//! Callers of Go Micro's: their paths arrive, they read our errors, and their timeouts hold.

use std::convert::Infallible;

use futures_util::future::BoxFuture;
use http::{Request, Response};
use prost::Message;
use prost_types::Any;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};
use tonic::{Code, Status, body::Body, server::NamedService};
use tower_service::Service;

use super::support::{Echo, Order, TestServer, detail};
use crate::server::Settings;

/// As Go Micro's client sends it.
fn from_go_micro(text: &str) -> tonic::Request<Order> {
    let mut request = tonic::Request::new(Order::new(text));
    request
        .metadata_mut()
        .insert("x-content-type", "application/protobuf".parse().unwrap());
    request
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

fn details(status: &Status) -> Vec<Any> {
    let read = Details::decode(status.details()).unwrap();
    assert_eq!(
        (read.code, read.message.as_str()),
        (status.code() as i32, status.message()),
        "who reads the one must read the same in the other"
    );
    read.details
}

#[tokio::test]
async fn a_path_with_the_registrys_name_arrives() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let answer = connection
        .call_at("/echo.Echo/Call", from_go_micro("hello"))
        .await
        .unwrap();
    assert_eq!(answer.into_inner().text, "hello");
    for path in ["/echo.Echo/Other", "/echo.NotAdded/Call", "/echo.Health/Check"] {
        let status = connection.call_at(path, from_go_micro("")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

/// A service whose name ends like that of the other one.
#[derive(Clone)]
struct Second(Echo);

impl NamedService for Second {
    const NAME: &'static str = "second.Echo";
}

impl Service<Request<Body>> for Second {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}

#[tokio::test]
async fn a_path_that_fits_two_services_calls_neither_and_names_both() {
    let second = Second(Echo::default());
    let server = TestServer::start_with(Settings::default(), |builder| builder.add_service(second)).await;
    let connection = server.connect().await;
    let order = || tonic::Request::new(Order::new("hello"));
    let status = connection.call_at("/echo.Echo/Call", order()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    for name in ["test.Echo", "second.Echo"] {
        assert!(status.message().contains(name), "{status}");
    }
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn an_error_is_json_and_a_detail_for_go_micro_and_unchanged_for_others() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let ours = connection
        .call(tonic::Request::new(Order::new("detailed")))
        .await
        .unwrap_err();
    assert_eq!(ours.message(), "nobody of this name");
    let theirs = connection.call(from_go_micro("detailed")).await.unwrap_err();
    assert_eq!(theirs.code(), Code::NotFound);
    let read: Value = serde_json::from_str(theirs.message()).unwrap();
    let expected = json!({"id": "echo", "code": 404, "detail": "nobody of this name", "status": "Not Found"});
    assert_eq!(read, expected);

    // What Go Micro v5.30 reads as `errors.Error{Id: "echo", Code: 404, Detail: …, Status: "Not Found"}`.
    let error = b"\x0a\x04echo\x10\x94\x03\x1a\x13nobody of this name\x22\x09Not Found";
    let first = Any {
        type_url: "type.googleapis.com/errors.Error".into(),
        value: error.to_vec(),
    };
    assert_eq!(details(&theirs), [first, detail()]);
}

/// A service that has no methods, and says so as generated code does: without a word.
#[derive(Clone)]
struct Empty;

impl NamedService for Empty {
    const NAME: &'static str = "test.Empty";
}

impl Service<Request<Body>> for Empty {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let response = Response::builder()
            .header("grpc-status", "12")
            .header("content-type", "application/grpc");
        std::future::ready(Ok(response.body(Body::empty()).unwrap()))
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_named() {
    let server = TestServer::start_with(Settings::default(), |builder| builder.add_service(Empty)).await;
    let connection = server.connect().await;
    // What a handler says itself stays.
    let order = tonic::Request::new(Order::new(""));
    let status = connection.call_at("/test.Echo/Other", order).await.unwrap_err();
    assert_eq!(status.message(), "no such method");
    for (asked, missing) in [
        ("/test.Empty/Call", "/test.Empty/Call"),
        ("/echo.Empty/Call", "/test.Empty/Call"),
        ("/echo.Nobody/Call", "/echo.Nobody/Call"),
    ] {
        let order = tonic::Request::new(Order::new(""));
        let status = connection.call_at(asked, order).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), format!("this server has no method `{missing}`"));
        let status = connection.call_at(asked, from_go_micro("")).await.unwrap_err();
        let read: Value = serde_json::from_str(status.message()).unwrap();
        assert_eq!(read["detail"], format!("this server has no method `{missing}`"));
    }
}

#[tokio::test]
async fn what_the_server_itself_answers_reads_the_same() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    for (path, text, code) in [
        ("/test.Echo/Call", "panic", 500),
        ("/test.Echo/Other", "", 501),
        ("/echo.Other/Call", "", 501),
    ] {
        let status = connection.call_at(path, from_go_micro(text)).await.unwrap_err();
        let read: Value = serde_json::from_str(status.message()).unwrap();
        assert_eq!(read["code"], code, "{path} {text}");
        assert_ne!(read["detail"], "", "{path} {text}");
        assert!(!status.message().contains("secret"), "{status}");
        assert_eq!(details(&status).len(), 1);
    }
}

#[tokio::test]
async fn an_error_after_the_first_message_of_a_stream_reads_the_same() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut stream = connection
        .stream(from_go_micro("refused"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    let status = stream.message().await.unwrap_err();
    let read: Value = serde_json::from_str(status.message()).unwrap();
    assert_eq!(
        (&read["code"], &read["detail"]),
        (&json!(503), &json!("elsewhere"))
    );
}

#[tokio::test(start_paused = true)]
async fn the_timeout_in_nanoseconds_holds() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let mut request = from_go_micro("never");
    request
        .metadata_mut()
        .insert("timeout", "3000000000".parse().unwrap());
    let started = Instant::now();
    let status = connection.call(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let read: Value = serde_json::from_str(status.message()).unwrap();
    assert_eq!(read["code"], 408);
    assert!(started.elapsed() < Duration::from_secs(4));
    server.running(0).await;
}

#[tokio::test(start_paused = true)]
async fn metadata_of_the_same_name_from_others_is_theirs() {
    let server = TestServer::start_in_memory(Settings::default());
    let mut request = tonic::Request::new(Order::new("wait"));
    request.metadata_mut().insert("timeout", "1".parse().unwrap());
    let connection = server.connect().await;
    let release = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.released.notify_one();
    };
    let (answer, ()) = tokio::join!(connection.call(request), release);
    assert_eq!(answer.unwrap().into_inner().text, "waited");
}

#[tokio::test]
async fn json_is_refused_in_words() {
    let server = TestServer::start(Settings::default()).await;
    let mut connection = server.connect().await;
    for (content_type, code) in [
        ("application/grpc+json", "12"),
        ("application/grpc+proto", "0"),
        ("application/grpc", "0"),
    ] {
        let message = Order::new("hello").encode_to_vec();
        let length = u8::try_from(message.len()).unwrap();
        let body = [&[0, 0, 0, 0, length], &message[..]].concat();
        let request = Request::post("http://test/test.Echo/Call")
            .header("content-type", content_type)
            .header("te", "trailers")
            .header("x-content-type", content_type)
            .body(Body::new(http_body_util::Full::new(body.into())))
            .unwrap();
        let mut response = Service::call(&mut connection, request).await.unwrap();
        let headers = response.headers().clone();
        let collected = http_body_util::BodyExt::collect(response.body_mut())
            .await
            .unwrap();
        let trailers = collected.trailers().cloned().unwrap_or(headers);
        assert_eq!(trailers["grpc-status"], code, "{content_type}");
        if code != "0" {
            let message = trailers["grpc-message"].to_str().unwrap();
            assert!(
                message.contains("json") && message.contains("application/grpc+proto"),
                "{message}"
            );
        }
    }
}

#[tokio::test]
async fn a_stream_is_answered_although_its_caller_does_not_close_its_side() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut stream = connection.stream_without_end("").await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    assert!(stream.message().await.unwrap().is_none());
    server.running(0).await;
    // The connection serves on.
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn of_two_messages_a_stream_of_answers_takes_the_first() {
    let server = TestServer::start(Settings::default()).await;
    let mut connection = server.connect().await;
    let message = Order::new("").encode_to_vec();
    assert!(message.is_empty());
    let two = [[0_u8; 5], [0; 5]].concat();
    let request = Request::post("http://test/test.Echo/Stream")
        .header("content-type", "application/grpc")
        .body(Body::new(http_body_util::Full::new(two.into())))
        .unwrap();
    let response = Service::call(&mut connection, request).await.unwrap();
    let collected = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
}
