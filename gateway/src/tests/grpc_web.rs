//! gRPC-Web, as browsers send it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::header;

use super::{
    browser::{BINARY, TEXT, decoded, frame, order, read, send, status},
    support::{Shop, until},
};
use crate::Settings;

/// The trailers of a call that went well: nothing of what the node says beside its messages.
fn good_end() -> BTreeMap<String, String> {
    BTreeMap::from([("grpc-status".to_owned(), "0".to_owned())])
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
        assert_eq!(trailers, good_end());
        assert!(answer.headers().contains_key("x-request-id"));
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
    let (messages, trailers) = read(&decoded(answer.body()));
    assert_eq!(messages, ["Hello Ada"]);
    assert_eq!(trailers, good_end());
    assert_eq!(shop.fake.calls(), 3);
}

#[tokio::test]
async fn a_stream_has_its_status_at_its_end() {
    let shop = Shop::exporting(&["shop"]).await;
    let answer = send(&shop, "/shop.Shop/Track", BINARY, order("Ada"), &[]).await;
    let (messages, trailers) = read(answer.body());
    assert_eq!(messages, ["Hello Ada"; 3]);
    assert_eq!(trailers, good_end());
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
