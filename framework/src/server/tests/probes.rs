//! What is answered over HTTP/1.1, written by hand as a simple prober would.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

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
