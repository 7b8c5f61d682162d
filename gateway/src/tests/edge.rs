//! What stands before calls: pages of other origins, compression, and how much a client may send.

use std::io::Read;

use flate2::read::GzDecoder;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use tonic::transport::server::TcpConnectInfo;

use super::support::{Answer, Shop, begin, send};
use crate::Settings;

const ADA: &str = r#"{"name":"Ada"}"#;

async fn shop(table: &str) -> Shop {
    Shop::with(toml::from_str(&format!("export = ['shop']\n{table}")).unwrap()).await
}

fn preflight(origin: &str) -> http::request::Builder {
    Request::options("/shop/shop/order")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,authorization")
}

fn has(headers: &HeaderMap, name: &str, part: &str) -> bool {
    headers
        .get(name)
        .is_some_and(|value| value.to_str().unwrap().to_ascii_lowercase().contains(part))
}

#[tokio::test]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let shop = shop("cors = { origins = ['https://app.example.com'] }").await;
    let asked = send(&shop.gateway, preflight("https://app.example.com"), "").await;
    assert_eq!(asked.status, 200);
    assert!(
        has(
            &asked.headers,
            "access-control-allow-origin",
            "https://app.example.com"
        ),
        "{:?}",
        asked.headers
    );
    assert!(has(&asked.headers, "access-control-allow-methods", "post"));
    assert!(has(
        &asked.headers,
        "access-control-allow-headers",
        "authorization"
    ));
    assert!(!asked.headers.contains_key("access-control-allow-credentials"));
    assert!(has(&asked.headers, "access-control-max-age", "600"));
    let foreign = send(&shop.gateway, preflight("https://evil.example"), "").await;
    assert!(
        !foreign.headers.contains_key("access-control-allow-origin"),
        "{:?}",
        foreign.headers
    );
    assert_eq!(shop.fake.calls() + shop.fake.reflections(), 0);

    let post = |origin: &str| Request::post("/shop/shop/order").header("origin", origin);
    let called = send(&shop.gateway, post("https://app.example.com"), ADA).await;
    assert_eq!(called.status, 200);
    assert!(has(
        &called.headers,
        "access-control-allow-origin",
        "https://app.example.com"
    ));
    assert!(has(
        &called.headers,
        "access-control-expose-headers",
        "grpc-status"
    ));
    assert!(has(&called.headers, "vary", "origin"));
    let refused = send(&shop.gateway, post("https://evil.example"), ADA).await;
    assert_eq!(refused.status, 403);
    assert_eq!(shop.fake.calls(), 1);
    // What there is can be asked for by whoever is no browser.
    let options = send(&shop.gateway, Request::options("/shop/shop/order"), "").await;
    assert_eq!(
        (options.status.as_u16(), &options.headers[header::ALLOW]),
        (204, &"OPTIONS, POST".parse().unwrap())
    );
}

#[tokio::test]
async fn without_the_setting_no_page_of_another_origin_may_call() {
    let shop = shop("").await;
    let asked = send(&shop.gateway, preflight("https://app.example.com"), "").await;
    assert!(!asked.headers.contains_key("access-control-allow-origin"));
    let request = Request::post("/shop/shop/order").header("origin", "https://app.example.com");
    assert_eq!(send(&shop.gateway, request, ADA).await.status, 403);
    assert_eq!(shop.fake.calls(), 0);
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_who_takes_it_and_streams_are_not() {
    let shop = shop("compression = true").await;
    let large = format!(r#"{{"name":"{}"}}"#, "a".repeat(10_000));
    let post = |path: &str| Request::post(path.to_owned()).header("accept-encoding", "gzip");
    let response = begin(&shop.gateway, post("/shop/shop/order"), &large).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert!(has(response.headers(), "vary", "accept-encoding"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.len() < 1000, "{} bytes", bytes.len());
    let mut text = String::new();
    GzDecoder::new(&*bytes).read_to_string(&mut text).unwrap();
    assert!(text.contains("aaaaaaa"));

    let is_plain = |answer: Answer| !answer.headers.contains_key("content-encoding") && answer.status == 200;
    assert!(is_plain(shop.post("/shop/shop/order", &large).await));
    assert!(is_plain(send(&shop.gateway, post("/shop/shop/order"), ADA).await));
    assert!(is_plain(
        send(&shop.gateway, post("/shop/shop/track"), &large).await
    ));
    let events = post("/shop/shop/track").header("accept", "text/event-stream");
    assert!(is_plain(send(&shop.gateway, events, &large).await));
    let encoded = Request::post("/shop/shop/order").header("content-encoding", "gzip");
    assert_eq!(send(&shop.gateway, encoded, ADA).await.status, 415);
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_told_when_to_come_back() {
    let shop = shop("rate_limit = { calls_per_second = 1, burst = 3 }").await;
    let mut refused = None;
    // Three at once, and one more for each second that this takes.
    for _ in 0..1000 {
        let answer = shop.post("/shop/shop/order", ADA).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a thousand requests are more than three");
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(refused.json()["code"], 8);
    assert!(shop.fake.calls() >= 3);
}

#[tokio::test]
async fn clients_behind_proxies_of_ours_are_told_apart_and_nobody_else_is_believed() {
    let shop =
        shop("rate_limit = { calls_per_second = 1, burst = 1 }\nproxies = { trusted = ['10.0.0.0/8'] }")
            .await;
    let from = |peer: &str, said: &str| {
        let peer = TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(peer.parse().unwrap()),
        };
        Request::post("/shop/shop/order")
            .extension(peer)
            .header("x-forwarded-for", said)
    };
    let mut statuses = Vec::new();
    for (peer, said) in [
        ("10.0.0.1:1", "203.0.113.1"),
        ("10.0.0.1:1", "203.0.113.2"),
        ("10.0.0.2:1", "203.0.113.3, 10.0.0.1"),
        ("198.51.100.1:1", "203.0.113.4"),
    ] {
        statuses.push(send(&shop.gateway, from(peer, said), ADA).await.status.as_u16());
    }
    assert_eq!(statuses, [200; 4]);
    // Of each as many as may come at once have come; a second later there is one more.
    let again = async |peer: &str, said: &str| send(&shop.gateway, from(peer, said), ADA).await.status;
    let mut refused = 0;
    for number in 0..1000 {
        let made_up = format!("192.0.2.{}", number % 250);
        refused += u32::from(again("198.51.100.1:1", &made_up).await == 429);
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0, "what a stranger says makes no client of its own");
    let told = from("10.0.0.1:1", "1.1.1.1, 203.0.113.77");
    let told = send(&shop.gateway, told, r#"{"name":"x-forwarded-for"}"#).await;
    assert_eq!(told.json()["message"], "x-forwarded-for=203.0.113.77");
}

#[test]
fn tables_that_make_no_sense_say_what_is_allowed() {
    for (text, expected) in [
        ("cors = {}", "missing field `origins`"),
        ("cors = { origins = ['*'] }", "is no origin"),
        ("cors = { origins = [], max_age = 0 }", "more than nothing"),
        ("rate_limit = { calls_per_second = 0 }", "a whole number above 0"),
        (
            "rate_limit = { calls_per_second = 1, by = 'ip' }",
            "`address` or `subject`",
        ),
    ] {
        let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
