//! gRPC-Web, as browsers send and read it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use micro_dynamic::fake::pool;
use prost::Message;
use prost_reflect::{DynamicMessage, Value};
use tokio::time::timeout;
use tonic::body::Body;
use tower::ServiceExt;

use super::support::{LONG, Shop};

pub(super) const BINARY: &str = "application/grpc-web+proto";
pub(super) const TEXT: &str = "application/grpc-web-text";

pub(super) fn frame(flag: u8, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    [&[flag][..], &length, bytes].concat()
}

pub(super) fn order(name: &str) -> Vec<u8> {
    let mut order = DynamicMessage::new(pool().get_message_by_name("shop.OrderRequest").unwrap());
    order.set_field_by_name("name", Value::String(name.to_owned()));
    frame(0, &order.encode_to_vec())
}

/// The messages of an answer, and its trailers.
pub(super) fn read(mut bytes: &[u8]) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut messages, mut trailers) = (Vec::new(), BTreeMap::new());
    while !bytes.is_empty() {
        let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap()) as usize;
        let (flag, body) = (bytes[0], &bytes[5..5 + length]);
        bytes = &bytes[5 + length..];
        if flag & 0x80 == 0 {
            let reply = pool().get_message_by_name("shop.OrderReply").unwrap();
            let reply = DynamicMessage::decode(reply, body).unwrap();
            let message = reply.get_field_by_name("message").unwrap();
            messages.push(message.as_str().unwrap().to_owned());
        } else {
            let lines = std::str::from_utf8(body).unwrap().lines();
            let pairs = lines.map(|line| line.split_once(':').unwrap());
            trailers.extend(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())));
        }
    }
    (messages, trailers)
}

/// The bytes of a text, of which each part may have been encoded by itself.
pub(super) fn decoded(text: &[u8]) -> Vec<u8> {
    let parts = text.chunks(4).map(|part| STANDARD.decode(part).unwrap());
    parts.collect::<Vec<_>>().concat()
}

/// Sends a request, and waits until its answer begins.
pub(super) async fn begin(
    shop: &Shop,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
    headers: &[(&str, &str)],
) -> Response<Body> {
    let mut request = Request::post(path)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, content_type);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::new(Full::from(body))).unwrap();
    let answered = timeout(LONG, shop.gateway.clone().oneshot(request)).await;
    answered.expect("there should be an answer").unwrap()
}

/// Sends a request, and takes the answer in whole.
pub(super) async fn send(
    shop: &Shop,
    path: &str,
    content_type: &str,
    body: Vec<u8>,
    headers: &[(&str, &str)],
) -> Response<Bytes> {
    let response = begin(shop, path, content_type, body, headers).await;
    let (parts, body) = response.into_parts();
    let body = timeout(LONG, body.collect()).await;
    let body = body.expect("the answer should end").unwrap();
    Response::from_parts(parts, body.to_bytes())
}

/// The status that an answer has, in its headers or at its end.
pub(super) fn status_of(response: &Response<Bytes>) -> String {
    assert_eq!(response.status(), 200);
    if let Some(status) = response.headers().get("grpc-status") {
        return status.to_str().unwrap().to_owned();
    }
    let (_, mut trailers) = read(response.body());
    trailers
        .remove("grpc-status")
        .expect("an answer ends with a status")
}

/// Sends a request as bytes; how it ended.
pub(super) async fn status(shop: &Shop, path: &str, body: Vec<u8>, headers: &[(&str, &str)]) -> String {
    status_of(&send(shop, path, BINARY, body, headers).await)
}
