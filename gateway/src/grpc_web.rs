//! gRPC-Web: what browsers can send of gRPC, passed through to exported methods as the bytes it is.

use std::{convert::Infallible, pin::Pin};

use bytes::{Buf, BufMut, Bytes};
use futures_util::{Stream, stream};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header, uri::PathAndQuery};
use http_body_util::Full;
use micro::{CallOptions, Channel};
use prost_reflect::MethodDescriptor;
use tokio::{
    sync::{OwnedSemaphorePermit, oneshot},
    time::{Duration, Instant, timeout_at},
};
use tonic::{
    Code, Status, Streaming,
    body::Body,
    client::Grpc as Caller,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    metadata::MetadataMap,
    server::Grpc as Answerer,
};
use tonic_web::GrpcWebLayer;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use crate::{fault, witness::Witness};

/// What a browser may call it; the second half is base64.
const CONTENT_TYPES: [&str; 4] = [
    "application/grpc-web",
    "application/grpc-web+proto",
    "application/grpc-web-text",
    "application/grpc-web-text+proto",
];
const TIMEOUT: &str = "grpc-timeout";

type Replies = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

/// Whether a request is gRPC-Web.
pub(crate) fn is(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    method == Method::POST && content_type.is_some_and(|kind| CONTENT_TYPES.iter().any(|own| kind == own))
}

/// The `grpc-timeout` of a request.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// How many bytes a body may have whose message may have `size`: with its frame, in base64.
pub(crate) fn body_size_max(size: usize) -> usize {
    size.saturating_add(16).div_ceil(3).saturating_mul(4)
}

/// A call to pass on.
pub(crate) struct Call {
    pub(crate) channel: Channel,
    pub(crate) method: MethodDescriptor,
    pub(crate) metadata: MetadataMap,
    pub(crate) deadline: Instant,
    pub(crate) message_size_max: usize,
    pub(crate) witness: Witness,
    /// The place of the request among those worked on.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Call {
    /// Answers a request whose body was read, in the form that it came or that it wants, and tells `failed` why the call
    /// came to nothing if it did.
    pub(crate) async fn answer(
        self,
        headers: HeaderMap,
        body: Bytes,
        failed: oneshot::Sender<Status>,
    ) -> Response<Body> {
        let mut request = Request::new(Body::new(Full::from(body)));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers;
        // The frames of gRPC-Web become those of gRPC and are read by tonic, which hands over the bytes of the message.
        let limit = self.message_size_max;
        let mut this = Some((self, failed));
        let service = service_fn(move |request: Request<Body>| {
            let call = this.take();
            async move {
                let mut answerer = Answerer::new(Raw).max_decoding_message_size(limit);
                Ok::<_, Infallible>(answerer.server_streaming(Handler(call), request).await)
            }
        });
        match GrpcWebLayer::new().layer(service).oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn pass(self, message: Bytes) -> Result<tonic::Response<Replies>, Status> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = self.metadata;
        request.extensions_mut().insert(CallOptions::new().timeout(left));
        let path = format!(
            "/{}/{}",
            self.method.parent_service().full_name(),
            self.method.name()
        );
        // The names come from the server, which may have said anything.
        let path = PathAndQuery::try_from(path).map_err(|_| Status::internal("the method has no path"))?;
        let mut caller = Caller::new(self.channel);
        caller
            .ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let replies: Replies = if self.method.is_server_streaming() {
            let replies = caller.server_streaming(request, path, Raw).await?.into_inner();
            Box::pin(stream::unfold(
                Some(Passed {
                    replies,
                    deadline: self.deadline,
                    witness: self.witness,
                    place: self.place,
                }),
                Passed::next,
            ))
        } else {
            Box::pin(tokio_stream::once(Ok(caller
                .unary(request, path, Raw)
                .await?
                .into_inner())))
        };
        // What a node says beside its messages stays here.
        Ok(tonic::Response::new(replies))
    }
}

/// A stream on its way; dropping it ends the call.
struct Passed {
    replies: Streaming<Bytes>,
    deadline: Instant,
    witness: Witness,
    place: OwnedSemaphorePermit,
}

impl Passed {
    async fn next(this: Option<Self>) -> Option<(Result<Bytes, Status>, Option<Self>)> {
        let mut this = this?;
        // The place is held for as long as the stream is.
        let _ = &this.place;
        let failure = match timeout_at(this.deadline, this.replies.message()).await {
            Ok(Ok(None)) => return None,
            Ok(Ok(Some(message))) => return Some((Ok(message), Some(this))),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("the stream took longer than it may"),
        };
        this.witness.tell(&failure);
        Some((Err(fault::shown(&failure)), None))
    }
}

struct Handler(Option<(Call, oneshot::Sender<Status>)>);

impl tonic::server::ServerStreamingService<Bytes> for Handler {
    type Response = Bytes;
    type ResponseStream = Replies;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Replies>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let call = self.0.take();
        Box::pin(async move {
            let call = call.ok_or_else(|| Status::new(Code::Internal, "a request is answered once"));
            let (call, failed) = call?;
            call.pass(request.into_inner()).await.map_err(|status| {
                let shown = fault::shown(&status);
                // Fails when nobody asks any more.
                let _ = failed.send(status);
                shown
            })
        })
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// The content type of an answer that has no message.
pub(crate) fn content_type(headers: &HeaderMap) -> HeaderValue {
    let is_text = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc-web-text");
    let wanted = headers
        .get(header::ACCEPT)
        .filter(|value| value.as_bytes().starts_with(b"application/grpc-web"));
    let wanted = wanted.or_else(|| headers.get(header::CONTENT_TYPE));
    HeaderValue::from_static(match wanted {
        Some(value) if is_text(value) => "application/grpc-web-text+proto",
        _ => "application/grpc-web+proto",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_up_to_eight_digits_and_a_unit() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, HeaderValue::from_static(text));
            timeout(&headers)
        };
        assert_eq!(of("2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        assert_eq!(of("15m"), Some(Duration::from_millis(15)));
        for bad in ["", "S", "1", "123456789S", "-1S", "+1S", "1s", "1.5S"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
