//! Tells a call that certainly never ran from one that perhaps did, and turns transport errors into statuses.

use std::error::Error as StdError;

use http::{HeaderMap, HeaderName};
use tonic::{Code, Status};

use super::peer::Peer;

/// The header by which a server says that it is another service and has run nothing.
pub(super) const REFUSED_HEADER: HeaderName = HeaderName::from_static("micro-refused");

/// Whether a failed request certainly reached no handler: the peer's GOAWAY names an earlier last stream
/// (RFC 9113 §6.8), or the peer refused the stream (RFC 9113 §8.7).
///
/// A GOAWAY of our own making says nothing about what the peer has processed.
pub(super) fn is_certainly_unsent(error: &h2::Error) -> bool {
    is_refused_stream(error) || (error.is_remote() && error.is_go_away())
}

/// Whether the peer refused this one stream, and may take others.
pub(super) fn is_refused_stream(error: &h2::Error) -> bool {
    error.is_remote() && error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)
}

/// Whether the server said that it is another service.
pub(super) fn is_wrong_service(headers: &HeaderMap) -> bool {
    headers
        .get(REFUSED_HEADER)
        .is_some_and(|value| value == "wrong-service")
}

/// The status of a call that failed on its way, by the gRPC protocol's table of HTTP/2 errors
/// (gRPC over HTTP2, section "Errors"); whatever else broke the connection is UNAVAILABLE.
///
/// One entry differs: the table has CANCELLED for a stream that the server resets with CANCEL, which is what a server
/// sends whose process or runtime ends under a call. The caller has cancelled nothing, and can go elsewhere.
pub(super) fn status(error: &h2::Error, peer: &Peer) -> Status {
    let code = match error.reason().filter(|_| error.is_reset()) {
        Some(h2::Reason::REFUSED_STREAM | h2::Reason::CANCEL) | None => Code::Unavailable,
        Some(h2::Reason::ENHANCE_YOUR_CALM) => Code::ResourceExhausted,
        Some(h2::Reason::INADEQUATE_SECURITY) => Code::PermissionDenied,
        Some(_) => Code::Internal,
    };
    Status::new(code, format!("call node {peer}: {}", chain(error)))
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}
