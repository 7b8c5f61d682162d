//! How a node that does as it is told answers, over HTTP/2.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Response};

/// Fails before anything of an answer.
pub(super) fn fail(
    respond: &mut h2::server::SendResponse<Bytes>,
    code: &str,
    said: Option<(&'static str, &str)>,
) {
    let mut failed = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code)
        .header("grpc-message", "no such name");
    if let Some((name, value)) = said {
        failed = failed.header(name, value);
    }
    // The caller may have gone.
    let _ = respond.send_response(failed.body(()).unwrap(), true);
}

/// Sends headers, and then the failure in trailers.
pub(super) fn end(
    respond: &mut h2::server::SendResponse<Bytes>,
    code: &str,
    said: Option<(&'static str, &str)>,
) {
    let Ok(mut stream) = respond.send_response(head(), false) else {
        return;
    };
    let mut trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())]);
    if let Some((name, value)) = said {
        trailers.insert(name, value.parse().unwrap());
    }
    // The caller may have gone.
    let _ = stream.send_trailers(trailers);
}

/// Sends headers, perhaps a message, and then resets the stream.
pub(super) async fn begin(respond: &mut h2::server::SendResponse<Bytes>, id: Option<&str>) {
    let Ok(mut stream) = respond.send_response(head(), false) else {
        return;
    };
    if let Some(id) = id {
        let _ = stream.send_data(framed(id), false);
    }
    // A reset drops what was not sent yet: let the connection send it first.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stream.send_reset(h2::Reason::CANCEL);
}

pub(super) fn answer(respond: &mut h2::server::SendResponse<Bytes>, id: &str) {
    first(respond, id).into_iter().for_each(finish);
}

/// Sends headers and a message.
pub(super) fn first(
    respond: &mut h2::server::SendResponse<Bytes>,
    id: &str,
) -> Option<h2::SendStream<Bytes>> {
    let mut stream = respond.send_response(head(), false).ok()?;
    // The caller may have gone.
    let _ = stream.send_data(framed(id), false);
    Some(stream)
}

/// Ends an answer well.
pub(super) fn finish(mut stream: h2::SendStream<Bytes>) {
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    // The caller may have gone.
    let _ = stream.send_trailers(trailers);
}

fn head() -> Response<()> {
    let head = Response::builder().header("content-type", "application/grpc");
    head.body(()).unwrap()
}

/// A message as gRPC frames it.
fn framed(text: &str) -> Bytes {
    let message = prost::Message::encode_to_vec(&text.to_owned());
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.extend_from_slice(&message);
    framed.freeze()
}
