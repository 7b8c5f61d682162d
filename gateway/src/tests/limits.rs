//! What a gateway takes of one request, and what its requests take of nodes.

use futures_util::{StreamExt, stream};
use http::Request;
use micro_dynamic::fake::Fake;

use super::{served::Served, support::three_shops};
use crate::Settings;

/// How many requests are on their way at a time.
const AT_A_TIME: usize = 64;

#[tokio::test]
async fn a_thousand_requests_take_one_connection_a_node_and_one_description() {
    let (nodes, registry) = three_shops().await;
    let gateway = Served::start(registry, Settings::exporting(["shop"]).unwrap()).await;
    let connection = gateway.h2().await;
    let requests = stream::iter(0..1000).map(|_| {
        let request = Request::post("http://localhost/shop/shop/order");
        connection.send(request, r#"{"name":"Ada"}"#)
    });
    let answers: Vec<_> = requests.buffer_unordered(AT_A_TIME).collect().await;
    for (status, text) in answers {
        assert_eq!(
            (status.as_u16(), &*text),
            (200, r#"{"message":"Hello Ada","count":1}"#)
        );
    }
    let sum = |count: fn(&Fake) -> usize| nodes.iter().map(count).sum::<usize>();
    assert_eq!((sum(Fake::calls), sum(Fake::reflections)), (1000, 1));
    for node in &nodes {
        assert!(node.calls() > 0);
        assert_eq!(node.connections(), 1);
    }
}

#[tokio::test]
async fn headers_above_the_limit_are_431() {
    let (gateway, fake) = Served::with("").await;
    let large = |kib: usize| format!("x-large: {}\r\n", "x".repeat(1015)).repeat(kib);
    for (kib, status) in [(15, 200), (17, 431), (64, 431)] {
        let request = format!(
            "POST /shop/shop/order HTTP/1.1\r\nhost: localhost\r\n{}connection: close\r\ncontent-length: 0\r\n\r\n",
            large(kib)
        );
        let answer = gateway.exchange(request.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{kib} KiB: {answer}"
        );
    }
    let many: String = (0..200).map(|number| format!("x-{number}: 1\r\n")).collect();
    let request = format!("GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    let answer = gateway.exchange(request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(fake.calls(), 1);
}
