//! Calls in JSON of methods that nobody describes, as servers of Go Micro's take them.

use std::task::{Context, Poll};

use futures_util::Stream;
use http::{HeaderValue, header, uri::PathAndQuery};
use prost::bytes::{Buf, BufMut};
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    client::{Grpc, GrpcService},
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::Transport;

/// What a message is made of, for a server that knows more than one way.
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc+json");

/// Calls the method at `path` with messages that are JSON, and answers with the server's own JSON.
///
/// Nothing is checked on the way: what the messages are made of, the server alone knows.
///
/// # Errors
///
/// The status with which the call ends before its first message; later ones come from the stream.
pub async fn invoke_json<T: Transport>(
    channel: T,
    path: PathAndQuery,
    request: Request<impl Stream<Item = String> + Send + 'static>,
) -> Result<Response<Streaming<String>>, Status> {
    let mut grpc = Grpc::new(InJson(channel));
    match grpc.ready().await {
        Ok(()) => grpc.streaming(request, path, JsonCodec).await,
        Err(error) => Err(Status::from_error(error.into())),
    }
}

/// Says of each request that its messages are JSON.
struct InJson<T>(T);

impl<T: Transport> GrpcService<Body> for InJson<T> {
    type ResponseBody = T::ResponseBody;
    type Error = T::Error;
    type Future = T::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        request.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
        self.0.call(request)
    }
}

#[derive(Clone, Copy, Debug)]
struct JsonCodec;

impl Codec for JsonCodec {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for JsonCodec {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for JsonCodec {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into())
            .map(Some)
            .map_err(|_| Status::internal("the answer is not JSON: it is no UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http::HeaderMap;
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use prost::bytes::Bytes;
    use tonic::Code;
    use tower_service::Service;

    use super::*;

    /// What Go Micro v5.30 answered to `"Ada"`, byte for byte, sent in these pieces.
    const STREAM: [&[u8]; 2] = [
        b"\0\0\0\0\x1b\"Hello Ada, 1 of 3 from Go\"\0\0\0\0\x1b\"Hello Ada, 2 ",
        b"of 3 from Go\"\0\0\0\0\x1b\"Hello Ada, 3 of 3 from Go\"",
    ];
    /// And to `""`.
    const MESSAGE: &str =
        r#"{"id":"go.greeter","code":400,"detail":"`name` is empty","status":"Bad Request"}"#;
    const DETAILS: &str = "CAMSUHsiaWQiOiJnby5ncmVldGVyIiwiY29kZSI6NDAwLCJkZXRhaWwiOiJgbmFtZWAgaXMgZW1wdHkiLCJzdGF0dXMiOiJCYWQgUmVxdWVzdCJ9GlEKIHR5cGUuZ29vZ2xlYXBpcy5jb20vZXJyb3JzLkVycm9yEi0KCmdvLmdyZWV0ZXIQkAMaD2BuYW1lYCBpcyBlbXB0eSILQmFkIFJlcXVlc3Q";

    /// Answers as that server did; whatever else it is sent ends the test.
    #[derive(Clone)]
    struct GoMicro {
        refuses: bool,
    }

    impl Service<http::Request<Body>> for GoMicro {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = futures_util::future::BoxFuture<'static, Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            let refuses = self.refuses;
            Box::pin(async move {
                assert_eq!(request.uri().path(), "/gogreeter.Say/Greetings");
                assert_eq!(request.headers()["content-type"], "application/grpc+json");
                let sent = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(sent, b"\0\0\0\0\x05\"Ada\""[..]);
                let response = http::Response::builder().header("content-type", "application/grpc+json");
                if refuses {
                    let response = response
                        .header("grpc-status", "3")
                        .header("grpc-message", MESSAGE)
                        .header("grpc-status-details-bin", DETAILS);
                    return Ok(response.body(Body::empty()).unwrap());
                }
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                trailers.insert("grpc-message", HeaderValue::from_static(""));
                let frames = STREAM.map(|piece| Frame::data(Bytes::from_static(piece)));
                let frames = frames.into_iter().chain([Frame::trailers(trailers)]);
                let body = StreamBody::new(stream::iter(frames.map(Ok::<_, Infallible>)));
                Ok(response.body(Body::new(body)).unwrap())
            })
        }
    }

    async fn called(refuses: bool) -> Result<Vec<String>, Status> {
        let path = PathAndQuery::from_static("/gogreeter.Say/Greetings");
        let request = Request::new(stream::iter([r#""Ada""#.to_owned()]));
        let answered = invoke_json(GoMicro { refuses }, path, request).await?;
        let (mut messages, mut replies) = (answered.into_inner(), Vec::new());
        while let Some(reply) = messages.message().await? {
            replies.push(reply);
        }
        Ok(replies)
    }

    #[tokio::test]
    async fn what_go_micro_answers_in_json_is_read() {
        let expected = [1, 2, 3].map(|number| format!(r#""Hello Ada, {number} of 3 from Go""#));
        assert_eq!(called(false).await.unwrap(), expected);
        let status = called(true).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::InvalidArgument, MESSAGE)
        );
    }
}
