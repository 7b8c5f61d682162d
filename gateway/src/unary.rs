//! One call with one message each way, written and read here as the bytes that gRPC has for it: what streams need costs as
//! much as the rest of such a call.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header, uri::PathAndQuery,
};
use http_body_util::{BodyExt as _, Full};
use micro::{Channel, ResponseFuture};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{Status, body::Body};
use tower::ServiceExt as _;
use tower_service::Service as _;

/// What is before a message: whether it is compressed, and its length.
const PREFIX_LENGTH: usize = 5;
/// Room for a message, which grows if it has to.
const ROOM: usize = 256;
/// The longest answer, which is that of tonic's clients.
const ANSWER_MAX: usize = 4 * 1024 * 1024;

/// A clone of `channel` that takes a call. It is waited for before there is a request, which would be carried along.
pub(crate) async fn ready(channel: &Channel) -> Result<Channel, Status> {
    let mut channel = channel.clone();
    channel.ready().await?;
    Ok(channel)
}

/// Calls the method at `path` through a channel that takes a call.
pub(crate) fn start(
    mut channel: Channel,
    path: PathAndQuery,
    request: tonic::Request<DynamicMessage>,
) -> Result<ResponseFuture, Status> {
    let (metadata, extensions, message) = request.into_parts();
    let mut request = Request::new(Body::new(Full::from(written(&message)?)));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = Uri::from(path);
    *request.extensions_mut() = extensions;
    let mut headers = metadata.into_headers();
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *request.headers_mut() = headers;
    Ok(channel.call(request))
}

/// Waits for the answer, which is one `output`.
pub(crate) async fn finish(
    answer: ResponseFuture,
    output: MessageDescriptor,
) -> Result<Response<DynamicMessage>, Status> {
    let (head, mut body) = answer.await?.into_parts();
    let is_ended = check_ending(&head.headers)?;
    if head.status != StatusCode::OK && !is_ended {
        return Err(of_http(head.status));
    }
    let (received, trailers) = received(&mut body).await?;
    if !is_ended && !check_ending(&trailers)? {
        return Err(Status::unknown("the answer has no status"));
    }
    let message = read(received, output)?;
    Ok(Response::from_parts(head, message))
}

fn written(message: &DynamicMessage) -> Result<Bytes, Status> {
    let mut frame = BytesMut::with_capacity(ROOM);
    frame.put_bytes(0, PREFIX_LENGTH);
    let unwritten = |error| Status::internal(format!("encode the message: {error}"));
    message.encode(&mut frame).map_err(unwritten)?;
    let length = u32::try_from(frame.len() - PREFIX_LENGTH);
    let length = length.map_err(|_| Status::resource_exhausted("the message is longer than gRPC allows"))?;
    frame[1..PREFIX_LENGTH].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// All that a body has, and its trailers.
async fn received(body: &mut Body) -> Result<(BytesMut, HeaderMap), Status> {
    let mut received = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                received.extend_from_slice(&data);
                if received.len() > PREFIX_LENGTH + ANSWER_MAX {
                    return Err(Status::out_of_range(format!(
                        "the answer is longer than {ANSWER_MAX} bytes"
                    )));
                }
            }
            Err(frame) => return Ok((received, frame.into_trailers().unwrap_or_default())),
        }
    }
    Ok((received, HeaderMap::new()))
}

/// Whether headers or trailers say how the call ended.
fn check_ending(headers: &HeaderMap) -> Result<bool, Status> {
    match headers.get(Status::GRPC_STATUS) {
        None => Ok(false),
        Some(code) if code == "0" => Ok(true),
        Some(_) => match Status::from_header_map(headers) {
            Some(status) if status.code() != tonic::Code::Ok => Err(status),
            _ => Ok(true),
        },
    }
}

/// What the status of HTTP says where gRPC says nothing, by its own table.
fn of_http(status: StatusCode) -> Status {
    let message = format!("the answer has the HTTP status {status}, and none of gRPC");
    match status {
        StatusCode::BAD_REQUEST => Status::internal(message),
        StatusCode::UNAUTHORIZED => Status::unauthenticated(message),
        StatusCode::FORBIDDEN => Status::permission_denied(message),
        StatusCode::NOT_FOUND => Status::unimplemented(message),
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Status::unavailable(message),
        _ => Status::unknown(message),
    }
}

/// The one message that was received.
fn read(mut received: BytesMut, output: MessageDescriptor) -> Result<DynamicMessage, Status> {
    if received.len() < PREFIX_LENGTH {
        return Err(Status::internal("the answer has no message"));
    }
    if received.get_u8() != 0 {
        return Err(Status::internal(
            "the answer is compressed, which was not asked for",
        ));
    }
    if received.get_u32() as usize != received.len() {
        return Err(Status::internal("the answer is not one whole message"));
    }
    let unread = |error| Status::internal(format!("decode the answer: {error}"));
    DynamicMessage::decode(output, received).map_err(unread)
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;
    use micro_dynamic::{fake::pool, from_json};
    use tonic::Code;

    use super::*;

    fn money() -> MessageDescriptor {
        pool().get_message_by_name("money.Money").unwrap()
    }

    fn written_money() -> BytesMut {
        let message = from_json(&money(), r#"{"currency":"EUR"}"#).unwrap();
        written(&message).unwrap().into()
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = written_money();
        assert_eq!(&bytes[..], b"\0\0\0\0\x05\x0a\x03EUR");
        let read = read(bytes, money()).unwrap();
        assert_eq!(read.get_field_by_name("currency").unwrap().as_str(), Some("EUR"));
    }

    #[test]
    fn what_is_not_one_whole_message_is_refused() {
        let whole = written_money();
        let compressed = [&[1], &whole[1..]].concat();
        for bytes in [
            &[][..],
            &whole[..4],
            &whole[..whole.len() - 1],
            &[&whole[..], &whole[..]].concat(),
            &compressed,
            b"\0\0\0\0\x01\xff",
        ] {
            let refused = read(bytes.into(), money()).unwrap_err();
            assert_eq!(refused.code(), Code::Internal, "{bytes:?}");
        }
    }

    fn body(frames: Vec<Frame<Bytes>>) -> Body {
        let frames = frames.into_iter().map(Ok::<_, Status>);
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_body_is_taken_to_its_trailers_and_no_longer_than_an_answer_may_be() {
        let mut trailers = HeaderMap::new();
        trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
        let pieces = [b"a", b"b"].map(|piece| Frame::data(Bytes::from_static(piece)));
        let frames = pieces.into_iter().chain([Frame::trailers(trailers.clone())]);
        let taken = received(&mut body(frames.collect())).await.unwrap();
        assert_eq!(taken, ("ab".as_bytes().into(), trailers));
        let most = Frame::data(vec![0; PREFIX_LENGTH + ANSWER_MAX].into());
        let one_more = Frame::data(Bytes::from_static(b"a"));
        let refused = received(&mut body(vec![most, one_more])).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange);
    }

    #[test]
    fn headers_and_trailers_say_how_a_call_ended_or_nothing() {
        let ending = |name: &'static str, code: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(code));
            check_ending(&headers).map_err(|status| status.code())
        };
        assert_eq!(ending("content-type", "0"), Ok(false));
        assert_eq!(ending("grpc-status", "0"), Ok(true));
        assert_eq!(ending("grpc-status", "5"), Err(Code::NotFound));
        assert_eq!(ending("grpc-status", "x"), Err(Code::Unknown));
        assert_eq!(of_http(StatusCode::BAD_GATEWAY).code(), Code::Unavailable);
        assert_eq!(of_http(StatusCode::NOT_FOUND).code(), Code::Unimplemented);
        assert_eq!(of_http(StatusCode::IM_A_TEAPOT).code(), Code::Unknown);
    }
}
