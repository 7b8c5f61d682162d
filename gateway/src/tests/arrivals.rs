//! Exactly which headers reach a node, whatever a request has.

use http::{HeaderMap, Request};

use super::served::Served;
use crate::grpc_web;

/// What a request may not say to a node, and what of it may be said where the settings name it.
const SENT: [(&str, &str); 28] = [
    ("accept-language", "de"),
    ("authorization", "Bearer secret"),
    ("cookie", "session=1"),
    ("proxy-authorization", "Basic YTpi"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("tracestate", "shop=1"),
    ("baggage", "user=root"),
    ("x-request-id", "r-7"),
    ("x-request-timeout", "40s"),
    ("user-agent", "a browser"),
    ("grpc-timeout", "99H"),
    ("grpc-encoding", "gzip"),
    ("grpc-accept-encoding", "gzip"),
    ("grpc-status", "0"),
    ("grpc-previous-rpc-attempts", "7"),
    ("grpc-tags-bin", "AAAA"),
    ("micro-service", "other"),
    ("micro-endpoint", "Admin.Reset"),
    ("micro-from-service", "admin"),
    ("x-md-global-user", "root"),
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-host", "admin"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=203.0.113.9"),
    ("via", "1.1 proxy"),
    ("x-real-ip", "203.0.113.9"),
    ("x-http-method-override", "GET"),
    ("te", "trailers"),
];
/// What speaks of one connection, which requests over HTTP/2 cannot have.
const OF_A_CONNECTION: [(&str, &str); 8] = [
    ("connection", "close, X-Hop"),
    ("x-hop", "secret"),
    ("connection", "x-second-hop"),
    ("x-second-hop", "secret"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("trailer", "x-late"),
    ("upgrade", "h2c"),
];
/// What of it reaches a node: beside the call itself the trace, the request's id, and whom it came from.
const ARRIVES: [&str; 9] = [
    "content-type: application/grpc",
    "grpc-timeout: up to 40s",
    "micro-service: shop",
    "te: trailers",
    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate: shop=1",
    concat!("user-agent: grpc-rust-micro/", env!("CARGO_PKG_VERSION")),
    "x-forwarded-for: 127.0.0.1",
    "x-request-id: r-7",
];
const ADA: &str = r#"{"name":"Ada"}"#;
const FORWARDED: &str = "forward = ['accept-language', 'authorization']";

/// All that arrived, in the order of the names. How much of the time is left is no two times the same.
fn arrived(headers: &HeaderMap) -> Vec<String> {
    let left = grpc_web::timeout(headers).expect("a call has a deadline");
    assert!((1..=40_000).contains(&left.as_millis()), "{left:?}");
    let mut lines: Vec<_> = headers
        .iter()
        .map(|(name, value)| match name.as_str() {
            "grpc-timeout" => "grpc-timeout: up to 40s".to_owned(),
            name => format!("{name}: {}", value.to_str().unwrap()),
        })
        .collect();
    lines.sort();
    lines
}

/// What arrives where the settings name two more.
fn arrives_with_forwarded() -> Vec<String> {
    let forwarded = ["accept-language: de", "authorization: Bearer secret"];
    let mut lines: Vec<_> = ARRIVES
        .iter()
        .chain(&forwarded)
        .map(|line| (*line).to_owned())
        .collect();
    lines.sort();
    lines
}

async fn over_http1(settings: &str) -> Vec<String> {
    let (gateway, fake) = Served::with(settings).await;
    let headers = SENT
        .iter()
        .chain(&OF_A_CONNECTION)
        .map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    let request = format!(
        "POST /shop/shop/order HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{ADA}",
        ADA.len()
    );
    let answer = gateway.exchange(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    arrived(&fake.headers())
}

async fn over_http2(settings: &str) -> Vec<String> {
    let (gateway, fake) = Served::with(settings).await;
    let mut request = Request::post("http://localhost/shop/shop/order");
    for (name, value) in SENT {
        request = request.header(name, value);
    }
    let (status, answer) = gateway.h2().await.send(request, ADA).await;
    assert_eq!(status, 200, "{answer}");
    arrived(&fake.headers())
}

#[tokio::test]
async fn only_what_is_named_reaches_a_node() {
    assert_eq!(over_http1("").await, ARRIVES);
    assert_eq!(over_http2("").await, ARRIVES);
}

#[tokio::test]
async fn what_the_settings_name_reaches_a_node_as_well() {
    assert_eq!(over_http1(FORWARDED).await, arrives_with_forwarded());
    assert_eq!(over_http2(FORWARDED).await, arrives_with_forwarded());
}

#[tokio::test]
async fn what_the_request_says_is_of_its_connection_reaches_no_node_though_the_settings_name_it() {
    let settings = "forward = ['accept-language', 'authorization', 'x-hop', 'x-second-hop']";
    assert_eq!(over_http1(settings).await, arrives_with_forwarded());
}
