//! What is answered over HTTP/1.1, written by hand as a simple prober would.

use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tower::ServiceExt;

use super::support::{LONG, TestServer};
use crate::server::Settings;

async fn exchange(server: &TestServer, request: &str) -> String {
    let mut socket = server.tcp().await;
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, socket.read_to_string(&mut answer))
        .await
        .expect("the server should answer and close")
        .unwrap();
    answer
}

async fn request(server: &TestServer, method: &str, path: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    exchange(server, &request).await
}

#[tokio::test]
async fn health_is_200_whatever_the_state_is() {
    let server = TestServer::start(Settings::default()).await;
    for state in [false, true] {
        server.server.health().set_serving(state);
        server.server.health().set_ready(state);
        let answer = request(&server, "GET", "/health").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
    }
}

#[tokio::test]
async fn ready_is_200_only_while_it_is_set() {
    let server = TestServer::start(Settings::default()).await;
    let answer = request(&server, "GET", "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    server.server.health().set_ready(true);
    let answer = request(&server, "GET", "/ready").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.server.health().set_ready(false);
    let answer = request(&server, "GET", "/ready?verbose").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

#[tokio::test]
async fn head_has_no_body_and_other_methods_are_not_allowed() {
    let server = TestServer::start(Settings::default()).await;
    let answer = request(&server, "HEAD", "/health").await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("content-length: 3\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = request(&server, "POST", "/health").await;
    assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
}

#[tokio::test]
async fn another_path_is_404_and_a_connection_is_kept() {
    let server = TestServer::start(Settings::default()).await;
    let requests = "GET /test.Echo/Call HTTP/1.1\r\nhost: x\r\n\r\n\
                    GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answers = exchange(&server, requests).await;
    assert!(answers.starts_with("HTTP/1.1 404 "), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 OK"), "{answers}");
}

#[tokio::test]
async fn grpc_over_http_1_is_told_what_it_needs() {
    let server = TestServer::start(Settings::default()).await;
    let request = "POST /test.Echo/Call HTTP/1.1\r\nhost: x\r\ncontent-type: application/grpc+proto\r\n\
                   content-length: 0\r\nconnection: close\r\n\r\n";
    let answer = exchange(&server, request).await;
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(answer.contains("HTTP/2"), "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_400_and_closed() {
    let server = TestServer::start(Settings::default()).await;
    let answer = exchange(&server, "\x16\x03\x01 no tls here\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

/// A server whose web service answers with the path, and what of the body it was sent.
async fn with_web() -> TestServer {
    TestServer::start_with(Settings::default(), |builder| {
        builder.web(tower::service_fn(
            |request: http::Request<tonic::body::Body>| async move {
                let (path, version) = (request.uri().path().to_owned(), request.version());
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body = String::from_utf8(body.to_vec()).unwrap();
                Ok::<_, std::convert::Infallible>(http::Response::new(format!(
                    "web {version:?} {path} {body}"
                )))
            },
        ))
    })
    .await
}

#[tokio::test]
async fn plain_http_that_is_no_probe_goes_to_the_web_service() {
    let server = with_web().await;
    let posted = "POST /a/b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi";
    let answer = exchange(&server, posted).await;
    assert!(answer.ends_with("web HTTP/1.1 /a/b hi"), "{answer}");
    let probed = request(&server, "GET", "/health").await;
    assert!(probed.ends_with("\r\n\r\nok\n"), "{probed}");
}

#[tokio::test]
async fn grpc_web_is_plain_http_and_grpc_over_http1_is_still_refused() {
    let server = with_web().await;
    for (content_type, expected) in [
        ("application/grpc-web+proto", "HTTP/1.1 200 "),
        ("application/grpc-web-text", "HTTP/1.1 200 "),
        ("application/grpc", "HTTP/1.1 505 "),
        ("application/grpc+proto", "HTTP/1.1 505 "),
    ] {
        let request = format!(
            "POST /a.B/C HTTP/1.1\r\nhost: x\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n"
        );
        let answer = exchange(&server, &request).await;
        assert!(answer.starts_with(expected), "{content_type}: {answer}");
    }
}

#[tokio::test]
async fn over_http2_the_content_type_tells_grpc_from_the_web() {
    let server = with_web().await;
    let connection = server.connect().await;
    assert!(connection.say("hi").await.is_ok());
    let sent = http::Request::get("http://x/page")
        .body(tonic::body::Body::empty())
        .unwrap();
    let answer = connection.clone().oneshot(sent).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "web HTTP/2.0 /page ");
}
