//! The body of an answer as HTTP/2 brings it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderName, Response};
use http_body::Frame;
use tonic::metadata::MetadataMap;
use tracing::debug;

use crate::control::Owned;

/// The details of a failure, in base64 (gRPC over HTTP/2, `Status-Details`).
const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The frames of an answer. Dropping it before its end cancels the request.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    /// Whether only trailers may come.
    data_ended: bool,
    /// Sends what is left of the request.
    _sending: Option<Owned<()>>,
}

impl Incoming {
    /// What h2 has of an answer, with the rest of the request.
    pub(super) fn answer(mut response: Response<RecvStream>, sending: Option<Owned<()>>) -> Response<Self> {
        drop_what_panics(response.headers_mut());
        response.map(|stream| Self {
            stream,
            data_ended: false,
            _sending: sending,
        })
    }
}

/// Drops details that are no base64, with which `tonic::Status::from_header_map` panics, here as in every generated stub. Code
/// and message say what failed all the same.
fn drop_what_panics(headers: &mut HeaderMap) {
    // Not by looking it up, for which the name is hashed: there are few headers, and hardly ever this one.
    let Some((_, details)) = headers.iter().find(|(name, _)| *name == DETAILS) else {
        return;
    };
    let alone = HeaderMap::from_iter([(DETAILS, details.clone())]);
    let alone = MetadataMap::from_headers(alone);
    let is_read = |details: &tonic::metadata::BinaryMetadataValue| details.to_bytes().is_ok();
    if !alone.get_bin(DETAILS.as_str()).is_some_and(is_read) {
        debug!("the details of a failure are no base64 and are dropped");
        headers.remove(DETAILS);
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = &mut *self;
        let polled = if this.data_ended {
            None
        } else {
            ready!(this.stream.poll_data(cx))
        };
        let frame = match polled {
            Some(Ok(data)) => {
                // That fails only for more than was received.
                let _ = this.stream.flow_control().release_capacity(data.len());
                Ok(Some(Frame::data(data)))
            }
            Some(Err(error)) => Err(error),
            None => {
                this.data_ended = true;
                ready!(this.stream.poll_trailers(cx)).map(|trailers| {
                    let mut trailers = trailers?;
                    drop_what_panics(&mut trailers);
                    Some(Frame::trailers(trailers))
                })
            }
        };
        Poll::Ready(match frame {
            // A complete answer whose server does not want the rest of the request (RFC 9113 §8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
            frame => frame.transpose(),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
