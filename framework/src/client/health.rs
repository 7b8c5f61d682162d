//! Listens to what a node says of its own health, where a client is told to: `grpc.health.v1.Health/Watch`.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Uri, header, uri::Scheme};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tokio::time;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};
use tracing::debug;

use super::{
    body::RequestBody,
    candidate::{Flags, authority},
    connection::Connection,
    incoming::Incoming,
    target::Shared,
    unsent::chain,
};
use crate::backoff::Backoff;

const PATH: &str = "/grpc.health.v1.Health/Watch";
/// The message that asks for the health of the whole server: an empty one, behind its five bytes of length.
const REQUEST: &[u8] = &[0; 5];
/// How many bytes stand before a message, and how long an answer may be, of which two bytes are usual.
const MESSAGE_HEAD: usize = 5;
const MESSAGE_MAX: usize = 1024;
/// The waits before a watch that ended is begun again.
const RETRY_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Sets the flag `not_serving` as the node at the end of `connection` says, for as long as this runs. A node without the
/// health service is one that serves.
pub(super) async fn watch(
    connection: Arc<Connection>,
    node: Arc<micro_registry::Node>,
    flags: Arc<Flags>,
    shared: Arc<Shared>,
) {
    let mut backoff = Backoff::new(RETRY_WAIT.0, RETRY_WAIT.1);
    let tell = |status: ServingStatus| {
        let not_serving = status == ServingStatus::NotServing;
        if flags.not_serving.swap(not_serving, Ordering::Relaxed) != not_serving {
            shared.attention.notify_one();
        }
    };
    loop {
        let heard = |status| {
            backoff.reset();
            tell(status);
        };
        let ended = watch_once(&connection, &node, heard).await;
        // Who no longer says that it does not serve is judged by its connection.
        tell(ServingStatus::Unknown);
        debug!(
            node = node.id(),
            error = ended.message(),
            "the watch of the node's health ended"
        );
        if ended.code() == Code::Unimplemented || connection.is_closing() {
            return;
        }
        time::sleep(backoff.next_wait()).await;
    }
}

/// One watch, until it ends; says why.
async fn watch_once(
    connection: &Connection,
    node: &micro_registry::Node,
    mut heard: impl FnMut(ServingStatus),
) -> Status {
    let Some(request) = request(node, connection.scheme.clone()) else {
        return Status::internal("the node's address is no authority");
    };
    let body = RequestBody::Whole(Bytes::from_static(REQUEST));
    let response = match connection.send(request, body).await {
        Ok(response) => response,
        Err(unanswered) => return Status::unavailable(chain(&unanswered.error)),
    };
    if let Some(status) = Status::from_header_map(response.headers()) {
        return status;
    }
    let mut messages = Messages {
        incoming: response.into_body(),
        buffer: BytesMut::new(),
    };
    loop {
        match messages.next().await {
            Ok(message) => match HealthCheckResponse::decode(message) {
                Ok(answer) => heard(answer.status()),
                Err(error) => return Status::internal(error.to_string()),
            },
            Err(ended) => return ended,
        }
    }
}

fn request(node: &micro_registry::Node, scheme: Scheme) -> Option<Request<()>> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority(node)?);
    parts.path_and_query = Some(http::uri::PathAndQuery::from_static(PATH));
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.version_mut() = http::Version::HTTP_2;
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    Some(request)
}

/// The messages of an answer.
struct Messages {
    incoming: Incoming,
    buffer: BytesMut,
}

impl Messages {
    /// The next one, or why there is none.
    async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            if let Some(message) = split_message(&mut self.buffer)? {
                return Ok(message);
            }
            let frame = match self.incoming.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Status::unavailable(chain(&error))),
                None => return Err(Status::unavailable("the answer ended")),
            };
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let status = frame.trailers_ref().and_then(Status::from_header_map);
                    return Err(status.unwrap_or_else(|| Status::unavailable("the answer ended")));
                }
            }
        }
    }
}

/// Takes one whole message off the front, if there is one.
fn split_message(buffer: &mut BytesMut) -> Result<Option<Bytes>, Status> {
    let Some((head, _)) = buffer.split_first_chunk::<MESSAGE_HEAD>() else {
        return Ok(None);
    };
    let [compressed, length @ ..] = *head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if compressed != 0 || length > MESSAGE_MAX {
        return Err(Status::internal(
            "an answer of the health service is compressed or too long",
        ));
    }
    if buffer.len() < MESSAGE_HEAD + length {
        return Ok(None);
    }
    let mut message = buffer.split_to(MESSAGE_HEAD + length);
    Ok(Some(message.split_off(MESSAGE_HEAD).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_however_they_arrive() {
        let bytes = [0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 8, 2];
        for step in 1..bytes.len() {
            let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
            for part in bytes.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(message) = split_message(&mut buffer).unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&[8, 1][..], &[], &[8, 2]], "{step}");
        }
    }

    #[test]
    fn what_is_too_long_or_compressed_is_refused_before_it_is_there() {
        for head in [[0, 0, 0, 5, 0], [0, 255, 255, 255, 255], [1, 0, 0, 0, 0]] {
            assert!(split_message(&mut BytesMut::from(&head[..])).is_err(), "{head:?}");
        }
    }
}
