//! What a gateway tells of its requests.

use tokio::{task::yield_now, time::timeout};

use super::{served::Served, support::LONG};

async fn post(gateway: &Served, path: &str) -> String {
    let json = r#"{"name":"Ada"}"#;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        json.len()
    );
    gateway.exchange((head + json).as_bytes()).await
}

#[tokio::test]
async fn requests_are_told_by_the_method_that_they_lead_to_however_it_is_spelt() {
    let (gateway, _fake) = Served::with("").await;
    for path in ["/shop/shop/order", "/shop/Shop/Order", "/shop/shop.Shop/order"] {
        let answer = post(&gateway, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    }
    for path in ["/shop/shop/nothing", "/shop/shop/nothing-else"] {
        let answer = post(&gateway, path).await;
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
            let page = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            let page = gateway.exchange(page).await;
            // A request is counted after its caller has the answer.
            if page.contains(found) && page.contains(lost) {
                return page;
            }
            yield_now().await;
        }
    };
    let page = timeout(LONG, told).await.expect("all requests should be told");
    assert!(!page.contains("nothing"), "{page}");
}
