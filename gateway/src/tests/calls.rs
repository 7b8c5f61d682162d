//! What is answered, and what reaches the server.

use http::{Request, header};
use http_body_util::BodyExt;
use serde_json::json;

use super::support::{Shop, begin, send, until};
use crate::Settings;

const ADA: &str = r#"{"name":"Ada"}"#;
const HELLO_ADA: &str = r#"{"message":"Hello Ada","count":1}"#;

#[tokio::test]
async fn a_path_and_json_are_a_call() {
    let shop = Shop::exporting(&["shop"]).await;
    for path in [
        "/shop/shop/order",
        "/shop/order",
        "/shop/Shop/Order",
        "/shop/shop.Shop/Order",
    ] {
        shop.post(path, ADA).await.is(200, HELLO_ADA);
    }
    let answer = shop.post("/shop/shop/order", "").await;
    answer.is(200, r#"{"message":"Hello ","count":1}"#);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    assert_eq!(answer.headers["x-request-id"].len(), 16);
    assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
}

#[tokio::test]
async fn a_method_without_side_effects_answers_get_and_head_and_no_other_does() {
    let shop = Shop::exporting(&["shop"]).await;
    shop.get("/shop/shop/look?name=Ada").await.is(200, HELLO_ADA);
    send(&shop.gateway, Request::head("/shop/shop/look?name=Ada"), "")
        .await
        .is(200, "");
    let refused = shop.get("/shop/shop/order?name=Ada").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.headers[header::ALLOW]),
        (405, &"OPTIONS, POST".parse().unwrap())
    );
    for method in ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"] {
        let request = Request::builder().method(method).uri("/shop/shop/look");
        assert_eq!(send(&shop.gateway, request, ADA).await.status, 405, "{method}");
    }
    let options = send(&shop.gateway, Request::options("/shop/shop/look"), "").await;
    assert_eq!(options.status, 204);
    assert_eq!(options.headers[header::ALLOW], "GET, HEAD, OPTIONS, POST");
    assert_eq!(shop.post("/shop/shop/order?name=Ada", ADA).await.status, 400);
    assert_eq!(shop.fake.calls(), 2);
}

#[tokio::test]
async fn errors_are_google_rpc_status_and_tell_nothing_of_the_inside() {
    let shop = Shop::exporting(&["shop"]).await;
    let request = || Request::post("/shop/shop/order").header("x-request-id", "r-7");
    let request_info = json!({ "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-7" });

    let nobody = send(&shop.gateway, request(), r#"{"name":"nobody"}"#).await;
    assert_eq!(nobody.status, 404);
    assert_eq!(
        nobody.json(),
        json!({ "code": 5, "message": "there is nobody", "details": [request_info] })
    );
    let broken = send(&shop.gateway, request(), r#"{"name":"broken"}"#).await;
    assert_eq!(
        (broken.status.as_u16(), broken.json()["code"].as_i64()),
        (500, Some(13))
    );
    assert!(
        !broken.text.contains("hunter2") && broken.text.contains("r-7"),
        "{}",
        broken.text
    );

    let wrong = shop.post("/shop/shop/order", r#"{"nam":"Ada"}"#).await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.text.contains("no field `nam`"), "{}", wrong.text);
}

#[tokio::test]
async fn a_call_ends_at_the_time_that_the_request_says() {
    let shop = Shop::exporting(&["shop"]).await;
    let request = Request::post("/shop/shop/order").header("x-request-timeout", "300ms");
    let late = send(&shop.gateway, request, r#"{"name":"sloth"}"#).await;
    assert_eq!(
        (late.status.as_u16(), late.json()["code"].as_i64()),
        (504, Some(4))
    );
    assert!(
        !late.text.contains(&shop.fake.address().to_string()),
        "{}",
        late.text
    );
    let request = Request::post("/shop/shop/order").header("x-request-timeout", "soon");
    assert_eq!(send(&shop.gateway, request, ADA).await.status, 400);
}

#[tokio::test]
async fn a_stream_is_lines_or_events() {
    let shop = Shop::exporting(&["shop"]).await;
    let lines = shop.post("/shop/shop/track", ADA).await;
    let line = |count| format!(r#"{{"message":"Hello Ada","count":{count}}}"#);
    let expected: String = (1..=3)
        .map(|count| format!("{{\"result\":{}}}\n", line(count)))
        .collect();
    lines.is(200, &expected);
    assert_eq!(lines.headers[header::CONTENT_TYPE], "application/x-ndjson");

    let request = Request::post("/shop/shop/track").header(header::ACCEPT, "text/event-stream");
    let events = send(&shop.gateway, request, ADA).await;
    let expected: String = (1..=3)
        .map(|count| format!("event: result\ndata: {}\n\n", line(count)))
        .collect();
    events.is(200, &format!("{expected}event: end\ndata: {{}}\n\n"));

    let failed = shop.post("/shop/shop/track", r#"{"name":"broken"}"#).await;
    assert!(
        failed.text.starts_with(r#"{"error":{"code":13,"#),
        "{}",
        failed.text
    );
    assert!(!failed.text.contains("hunter2"));
    let request = Request::post("/shop/shop/track").header(header::ACCEPT, "image/png");
    assert_eq!(send(&shop.gateway, request, ADA).await.status, 406);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_and_gives_its_place_back() {
    let shop = Shop::with(Settings::exporting(["shop"]).unwrap().calls_max(1)).await;
    let mut response = begin(
        &shop.gateway,
        Request::post("/shop/shop/track"),
        r#"{"name":"endless"}"#,
    )
    .await;
    for _ in 0..3 {
        assert!(response.body_mut().frame().await.unwrap().is_ok());
    }
    assert_eq!(shop.fake.open(), 1);
    let full = shop.post("/shop/shop/order", ADA).await;
    assert_eq!(
        (full.status.as_u16(), &full.headers[header::RETRY_AFTER]),
        (503, &"1".parse().unwrap())
    );
    drop(response);
    until("the call ends on the server", || async { shop.fake.open() == 0 }).await;
    shop.post("/shop/shop/order", ADA).await.is(200, HELLO_ADA);
}

#[tokio::test]
async fn a_stream_ends_at_its_deadline_and_says_so() {
    let shop = Shop::exporting(&["shop"]).await;
    shop.post("/shop/shop/order", ADA).await.is(200, HELLO_ADA);
    let request = Request::post("/shop/shop/track").header("x-request-timeout", "3s");
    let ended = send(&shop.gateway, request, r#"{"name":"endless"}"#).await;
    let last = ended.text.lines().last().unwrap();
    assert!(last.starts_with(r#"{"error":{"code":4,"#), "{}", ended.text);
}

#[tokio::test]
async fn a_request_whose_end_is_uncertain_is_refused_and_ends_the_connection() {
    let shop = Shop::exporting(&["shop"]).await;
    for (encodings, length) in [
        (&["chunked"][..], Some("14")),
        (&["chunked, chunked"], None),
        (&["chunked", "chunked"], None),
        (&["xchunked"], None),
        (&["gzip, chunked"], None),
        (&["identity"], None),
    ] {
        let mut request = Request::post("/shop/shop/order");
        for encoding in encodings {
            request = request.header(header::TRANSFER_ENCODING, *encoding);
        }
        if let Some(length) = length {
            request = request.header(header::CONTENT_LENGTH, length);
        }
        let answer = send(&shop.gateway, request, ADA).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::CONNECTION]),
            (400, &"close".parse().unwrap())
        );
    }
    assert_eq!(shop.fake.calls(), 0);
    let request = Request::post("/shop/shop/order").header(header::TRANSFER_ENCODING, "Chunked");
    send(&shop.gateway, request, ADA).await.is(200, HELLO_ADA);
}

#[tokio::test]
async fn methods_that_take_a_stream_have_no_form_in_http() {
    let shop = Shop::exporting(&["shop"]).await;
    for path in ["/shop/shop/total", "/shop/shop/chat"] {
        assert_eq!(shop.post(path, ADA).await.status, 501, "{path}");
    }
    assert_eq!(shop.fake.calls(), 0);
}

#[tokio::test]
async fn a_service_without_nodes_is_503_and_one_that_is_not_exported_404() {
    let registry: micro::registry::Static = "shop=127.0.0.1:1".parse().unwrap();
    let settings = Settings::exporting(["shop", "gone"]).unwrap();
    let gateway = super::support::gateway(std::sync::Arc::new(registry), settings);
    let gone = send(&gateway, Request::post("/gone/say/hello"), "").await;
    assert_eq!(gone.status, 503, "{}", gone.text);
    let shop = Shop::exporting(&["shop"]).await;
    let other = shop.post("/other/say/hello", "").await;
    assert_eq!(
        (other.status.as_u16(), other.json()["code"].as_i64()),
        (404, Some(5))
    );
}
