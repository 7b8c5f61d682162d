//! Which answers are compressed: those that are whole and large enough, for clients that take gzip.

use http::{Response, header};
use http_body::Body;
use tower_http::compression::{CompressionLayer, Predicate};

/// Below this many bytes it costs more than it saves.
const SIZE_MIN: u64 = 1024;

/// What compresses answers.
pub(crate) fn layer() -> CompressionLayer<Whole> {
    CompressionLayer::new().gzip(true).compress_when(Whole)
}

/// Chooses answers that are one JSON. A stream shows each message as it comes, and would wait in a compressor for more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole;

impl Predicate for Whole {
    fn should_compress<B: Body>(&self, response: &Response<B>) -> bool {
        let is_json = response
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/json");
        is_json && response.body().size_hint().lower() >= SIZE_MIN
    }
}
