//! gRPC-Web, as browsers send it.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use micro_dynamic::fake::pool;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tonic::body::Body;
use tower::ServiceExt;

use super::support::{Shop, until};
use crate::Settings;

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, bytes].concat()
}

fn order(name: &str) -> Vec<u8> {
    let mut order = DynamicMessage::new(pool().get_message_by_name("shop.OrderRequest").unwrap());
    order.set_field_by_name("name", Value::String(name.to_owned()));
    frame(0, &order.encode_to_vec())
}

/// The messages of an answer, and its trailers as one text.
fn read(mut bytes: &[u8]) -> (Vec<String>, String) {
    let (mut messages, mut trailers) = (Vec::new(), String::new());
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let (flag, body) = (bytes[0], &bytes[5..5 + length]);
        bytes = &bytes[5 + length..];
        if flag & 0x80 == 0 {
            let reply = pool().get_message_by_name("shop.OrderReply").unwrap();
            let reply = DynamicMessage::decode(reply, body).unwrap();
            messages.push(
                reply
                    .get_field_by_name("message")
                    .unwrap()
                    .as_str()
                    .unwrap()
                    .to_owned(),
            );
        } else {
            trailers.push_str(std::str::from_utf8(body).unwrap());
        }
    }
    (messages, trailers)
}

async fn send(
    shop: &Shop,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let mut request = Request::post(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, content_type);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::from(body))).unwrap();
    let response = shop.gateway.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

async fn status(shop: &Shop, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> String {
    let response = send(shop, path, BINARY, body, headers).await;
    assert_eq!(response.status(), 200);
    let of_headers = response
        .headers()
        .get("grpc-status")
        .map(|status| status.to_str().unwrap().to_owned());
    of_headers.unwrap_or_else(|| {
        let (_, trailers) = read(response.body());
        let status = trailers
            .lines()
            .find_map(|line| line.strip_prefix("grpc-status:"));
        status.expect("an answer ends with a status").trim().to_owned()
    })
}

#[tokio::test]
async fn a_call_is_passed_through_as_bytes_and_as_text() {
    let shop = Shop::exporting(&["shop"]).await;
    for path in ["/shop.Shop/Order", "/shop/shop.Shop/Order"] {
        let answer = send(&shop, path, BINARY, order("Ada"), &[]).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()[header::CONTENT_TYPE]),
            (200, &BINARY.parse().unwrap())
        );
        let (messages, trailers) = read(answer.body());
        assert_eq!(messages, ["Hello Ada"]);
        assert!(trailers.contains("grpc-status:0"), "{trailers}");
        assert!(answer.headers().contains_key("x-request-id") && !trailers.contains("micro-"));
    }
    let answer = send(
        &shop,
        "/shop.Shop/Order",
        TEXT,
        STANDARD.encode(order("Ada")).into_bytes(),
        &[("accept", TEXT)],
    )
    .await;
    assert!(
        answer.headers()[header::CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with(TEXT)
    );
    let (messages, trailers) = read(&STANDARD.decode(answer.body()).unwrap());
    assert_eq!(messages, ["Hello Ada"]);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    assert_eq!(shop.fake.calls(), 3);
}

#[tokio::test]
async fn a_stream_has_its_status_at_its_end() {
    let shop = Shop::exporting(&["shop"]).await;
    let answer = send(&shop, "/shop.Shop/Track", BINARY, order("Ada"), &[]).await;
    let (messages, trailers) = read(answer.body());
    assert_eq!(messages, ["Hello Ada"; 3]);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    let late = status(
        &shop,
        "/shop.Shop/Track",
        order("endless"),
        &[("grpc-timeout", "300m")],
    )
    .await;
    assert_eq!(late, "4");
}

#[tokio::test]
async fn what_went_wrong_is_a_status_and_tells_nothing_of_the_inside() {
    let shop = Shop::exporting(&["shop/Shop"]).await;
    for (path, body, expected) in [
        ("/shop.Shop/Order", order("nobody"), "5"),
        ("/shop.Shop/Order", order("broken"), "13"),
        ("/shop.Shop/Track", order("broken"), "13"),
        ("/shop.Archive/Order", order("Ada"), "5"),
        ("/grpc.health.v1.Health/Check", frame(0, b""), "5"),
        (
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            frame(0, b""),
            "5",
        ),
        ("/shop.Shop/../Order", order("Ada"), "3"),
        ("/shop.Shop/Total", order("Ada"), "12"),
        ("/shop.Shop/Order", frame(1, b"x"), "13"),
        ("/shop.Shop/Order", vec![0, 0xff, 0xff, 0xff, 0xff], "11"),
    ] {
        assert_eq!(
            status(&shop, path, body.clone(), &[]).await,
            expected,
            "{path} {body:?}"
        );
    }
    let broken = send(&shop, "/shop.Shop/Order", BINARY, order("broken"), &[]).await;
    assert!(!format!("{broken:?}").contains("hunter2"), "{broken:?}");
    assert_eq!(
        status(
            &shop,
            "/shop.Shop/Order",
            order("sloth"),
            &[("grpc-timeout", "200m")]
        )
        .await,
        "4"
    );
}

#[tokio::test]
async fn limits_and_other_kinds_hold_here_too() {
    let shop = Shop::with(Settings::exporting(["shop"]).unwrap().body_size_max(100)).await;
    assert_eq!(
        status(&shop, "/shop.Shop/Order", order(&"a".repeat(1000)), &[]).await,
        "3"
    );
    assert_eq!(shop.fake.calls(), 0);
    let json = send(
        &shop,
        "/shop/shop/order",
        "application/grpc-web+thrift",
        order("Ada"),
        &[],
    )
    .await;
    assert_eq!(json.status(), 415);
    let page = send(
        &shop,
        "/shop.Shop/Order",
        BINARY,
        order("Ada"),
        &[("origin", "https://evil.example")],
    )
    .await;
    assert_eq!(page.headers()["grpc-status"], "7");
    assert_eq!(shop.fake.calls(), 0);
}

#[tokio::test]
async fn a_method_that_a_node_does_not_have_is_looked_for_anew_as_it_is_with_json() {
    let shop = Shop::exporting(&["shop"]).await;
    assert_eq!(status(&shop, "/shop.Shop/Order", order("gone"), &[]).await, "12");
    until("the node is asked again", || async {
        shop.fake.reflections() == 2
    })
    .await;
    assert_eq!(
        shop.post("/shop/shop/order", r#"{"name":"gone"}"#).await.status,
        501
    );
    until("and once more", || async { shop.fake.reflections() == 3 }).await;
}
