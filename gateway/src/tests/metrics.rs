//! What a gateway tells of its requests.

use std::{net::SocketAddr, sync::Arc};

use micro::registry::Static;
use micro_dynamic::fake::{Fake, Reflection};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::yield_now,
    time::timeout,
};

use super::support::LONG;
use crate::{Settings, service};

async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut io = TcpStream::connect(address).await.unwrap();
    io.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn post(address: SocketAddr, path: &str) -> String {
    let json = r#"{"name":"Ada"}"#;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        json.len()
    );
    exchange(address, &(head + json)).await
}

#[tokio::test]
async fn requests_are_told_by_the_method_that_they_lead_to_however_it_is_spelt() {
    let fake = Fake::start(Reflection::V1).await.unwrap();
    let registry: Static = format!("shop={}", fake.address()).parse().unwrap();
    let (tell, started) = oneshot::channel();
    let gateway = service(Settings::exporting(["shop"]).unwrap())
        .environment::<String, String>([])
        .address("127.0.0.1:0")
        .registry(Arc::new(registry))
        .after_start(|cx| async move { tell.send(cx.local_address()).map_err(|_| "nobody asks") });
    // The static registry takes no nodes, so the gateway is not announced, but it answers.
    let gateway = gateway.build().unwrap();
    let running = tokio::spawn(gateway.run());
    let address = timeout(LONG, started).await.unwrap().unwrap().unwrap();
    for path in ["/shop/shop/order", "/shop/Shop/Order", "/shop/shop.Shop/order"] {
        let answer = post(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    for path in ["/shop/shop/nothing", "/shop/shop/nothing-else"] {
        let answer = post(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let (found, lost) = (
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",url_scheme=\"http\",\
         http_route=\"/shop/shop.Shop/Order\",http_response_status_code=\"200\"} 3",
        "http_server_request_duration_seconds_count{http_request_method=\"POST\",url_scheme=\"http\",\
         http_response_status_code=\"404\"} 2",
    );
    let told = async {
        loop {
            let page = exchange(
                address,
                "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            )
            .await;
            // A request is counted after its caller has the answer.
            if page.contains(found) && page.contains(lost) {
                return page;
            }
            yield_now().await;
        }
    };
    let page = timeout(LONG, told).await.expect("all requests should be told");
    assert!(!page.contains("nothing"), "{page}");
    running.abort();
}
