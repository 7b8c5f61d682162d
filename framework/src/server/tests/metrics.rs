//! What `/metrics` tells of calls, and the spans around them.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tracing_subscriber::fmt::format::FmtSpan;

use super::support::{LONG, Order, TestServer};
use crate::server::Settings;

pub(super) async fn metrics(server: &TestServer) -> String {
    metrics_over(server.tcp().await).await
}

/// What a GET of `/metrics` over this connection is answered.
pub(super) async fn metrics_over(mut io: impl AsyncRead + AsyncWrite + Unpin) -> String {
    io.write_all(b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    timeout(LONG, io.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{answer}"
    );
    answer
}

/// How many calls of `method` have ended with `code`.
fn calls(metrics: &str, method: &str, code: &str) -> Option<u64> {
    let series = format!(
        "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",rpc_method=\"{method}\",\
         rpc_response_status_code=\"{code}\""
    );
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series))?;
    // What is no fault of the server's is no error there.
    let is_error = !matches!(code, "OK" | "CANCELLED");
    let error = if is_error {
        format!(",error_type=\"{code}\"")
    } else {
        String::new()
    };
    let count = line.strip_prefix(&format!("{error}}} "));
    Some(count.unwrap_or_else(|| panic!("{line}")).parse().unwrap())
}

/// Waits until that is what is told: a call is counted after its caller has the answer.
async fn told(server: &TestServer, method: &str, code: &str, expected: u64) -> String {
    let deadline = Instant::now() + LONG;
    loop {
        let metrics = metrics(server).await;
        if calls(&metrics, method, code) == Some(expected) {
            return metrics;
        }
        assert!(
            Instant::now() < deadline,
            "no {method} {code} {expected} in\n{metrics}"
        );
    }
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    for _ in 0..3 {
        connection.say("hello").await.unwrap();
    }
    connection.say("refused").await.unwrap_err();
    connection.say("panic").await.unwrap_err();
    for path in ["/test.Echo/Made", "/made.Up/Call"] {
        let order = tonic::Request::new(Order::new(""));
        connection.call_at(path, order).await.unwrap_err();
    }
    told(&server, "test.Echo/Call", "OK", 3).await;
    told(&server, "test.Echo/Call", "UNAVAILABLE", 1).await;
    told(&server, "test.Echo/Call", "INTERNAL", 1).await;
    let metrics = told(&server, "_OTHER", "UNIMPLEMENTED", 2).await;
    // What a caller makes up is no label.
    assert!(!metrics.to_lowercase().contains("made"), "{metrics}");
}

#[tokio::test]
async fn a_stream_is_counted_when_it_ends_and_as_cancelled_when_its_caller_leaves() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let order = |text| tonic::Request::new(Order::new(text));
    let mut left = connection.stream(order("never")).await.unwrap().into_inner();
    assert_eq!(left.message().await.unwrap().unwrap().text, "first");
    assert_eq!(calls(&metrics(&server).await, "test.Echo/Stream", "OK"), None);
    drop(left);
    server.running(0).await;
    told(&server, "test.Echo/Stream", "CANCELLED", 1).await;

    let mut whole = connection.stream(order("")).await.unwrap().into_inner();
    while whole.message().await.unwrap().is_some() {}
    told(&server, "test.Echo/Stream", "OK", 1).await;
}

#[tokio::test]
async fn calls_and_connections_at_the_moment_are_told() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let waiting = connection.clone();
    let call = tokio::spawn(async move { waiting.say("wait").await });
    server.running(1).await;
    let during = metrics(&server).await;
    assert!(during.contains("\nmicro_server_active_calls 1\n"), "{during}");
    // This one, and the one that asks.
    assert!(during.contains("\nmicro_server_open_connections 2\n"), "{during}");
    server.released.notify_one();
    call.await.unwrap().unwrap();
    told(&server, "test.Echo/Call", "OK", 1).await;
    let after = metrics(&server).await;
    assert!(after.contains("\nmicro_server_active_calls 0\n"), "{after}");
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_has_a_span_that_tells_method_and_code() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_span_events(FmtSpan::CLOSE)
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // This thread's alone, on which all of the test's runtime is.
    // With a second subscriber, a span that another test's thread is the first to reach asks all of them whether it is
    // wanted; with one alone it asks that thread's, which is none, and nobody sees it from then on.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    connection.say("panic").await.unwrap_err();
    told(&server, "test.Echo/Call", "INTERNAL", 1).await;
    let order = tonic::Request::new(Order::new(""));
    connection.call_at("/made.Up/Call", order).await.unwrap_err();
    told(&server, "_OTHER", "UNIMPLEMENTED", 1).await;
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let line = |what: &str| text.lines().find(|line| line.contains(what)).unwrap();
    for part in [
        "rpc.method=\"test.Echo/Call\"",
        "rpc.system.name=\"grpc\"",
        "rpc.response.status_code=\"INTERNAL\"",
        "error.type=\"INTERNAL\"",
        "network.peer.address=\"127.0.0.1\"",
    ] {
        assert!(line("close").contains(part), "{part} in\n{text}");
    }
    assert!(!line("close").contains("method_original"), "{text}");
    let unknown = text.lines().rfind(|line| line.contains("close")).unwrap();
    for part in [
        "rpc.method=\"_OTHER\"",
        "rpc.method_original=\"made.Up/Call\"",
        "error.type=\"UNIMPLEMENTED\"",
    ] {
        assert!(unknown.contains(part), "{part} in\n{text}");
    }
    // What is logged within a call is told with it.
    assert!(
        line("a handler panicked").contains("rpc.method=\"test.Echo/Call\""),
        "{text}"
    );
}
