//! By which names a gateway may be called, so that no page has its own resolved to the address of one.

use http::{Request, header};

use super::served::Served;

const ORDER: &str = "/shop/shop/order";
/// Of all kinds: calls, what there is, and the dashboard.
const PATHS: [(&str, &str); 6] = [
    ("POST", ORDER),
    ("GET", "/openapi.json"),
    ("GET", "/nobody/x/y"),
    ("GET", "/dashboard"),
    ("GET", "/dashboard.js"),
    ("GET", "/dashboard.events"),
];
const FOREIGN: [&str; 4] = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "10.0.0.1",
];

/// The status over HTTP/1.1 and over HTTP/2, which are the same.
async fn status(gateway: &Served, method: &str, path: &str, host: &str) -> u16 {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let answer = gateway.exchange(request.as_bytes()).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://{host}{path}"));
    let (over_http2, answer) = gateway.h2().await.send(request, "").await;
    assert_eq!(over_http2, status, "{method} {path} at {host}: {answer}");
    status
}

async fn answers_no_foreign_name(gateway: &Served) {
    for (method, path) in PATHS {
        for host in FOREIGN {
            assert_eq!(status(gateway, method, path, host).await, 421, "{path} {host}");
        }
    }
}

#[tokio::test]
async fn a_gateway_on_loopback_answers_no_foreign_name() {
    let (gateway, fake) = Served::with("dashboard = true").await;
    answers_no_foreign_name(&gateway).await;
    assert_eq!(fake.calls() + fake.reflections(), 0);
    for host in ["localhost", "127.0.0.1:8080", "LocalHost"] {
        assert_eq!(status(&gateway, "POST", ORDER, host).await, 200);
        assert_eq!(status(&gateway, "GET", "/dashboard", host).await, 200);
    }
}

#[tokio::test]
async fn a_gateway_with_names_answers_those_and_shows_its_dashboard_at_localhost() {
    let (gateway, fake) = Served::with("dashboard = true\nhosts = ['api.example.com']").await;
    answers_no_foreign_name(&gateway).await;
    assert_eq!(status(&gateway, "POST", ORDER, "localhost").await, 421);
    assert_eq!(fake.calls() + fake.reflections(), 0);
    assert_eq!(status(&gateway, "POST", ORDER, "api.example.com").await, 200);
    assert_eq!(status(&gateway, "GET", "/dashboard", "localhost").await, 200);
    // By its own name it is the gateway, which shows that to nobody elsewhere.
    assert_eq!(
        status(&gateway, "GET", "/dashboard", "api.example.com").await,
        403
    );
}

#[tokio::test]
async fn two_names_are_none() {
    let (gateway, fake) = Served::with("dashboard = true").await;
    for (method, path) in PATHS {
        for hosts in [
            "",
            "host: localhost\r\nhost: evil.example\r\n",
            "host: user@localhost\r\n",
        ] {
            let request = format!("{method} {path} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n");
            let answer = gateway.exchange(request.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{path} {hosts:?}: {answer}");
        }
        let request = Request::builder()
            .method(method)
            .uri(format!("http://localhost{path}"));
        let request = request.header(header::HOST, "evil.example");
        let (status, answer) = gateway.h2().await.send(request, "").await;
        assert_eq!(status, 400, "{path}: {answer}");
    }
    assert_eq!(fake.calls() + fake.reflections(), 0);
}
