//! Which answers are compressed: those that are whole and large enough, for clients that take gzip.

use std::{convert::Infallible, future::ready};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use tonic::body::Body;
use tower::{ServiceExt as _, service_fn};
use tower_http::compression::{CompressionLayer, Predicate};
use tower_layer::Layer as _;

/// Below this many bytes it costs more than it saves.
const SIZE_MIN: u64 = 1024;

/// The encodings that a client takes, as it said.
#[derive(Debug)]
pub(crate) struct Accepted(Vec<HeaderValue>);

impl Accepted {
    pub(crate) fn by(headers: &HeaderMap) -> Self {
        Self(headers.get_all(header::ACCEPT_ENCODING).iter().cloned().collect())
    }

    /// The same answer, compressed if that is worth it. Most are not, and cost a look.
    pub(crate) async fn compress(self, response: Response<Body>) -> Response<Body> {
        if !Whole.should_compress(&response) {
            return response;
        }
        let mut request = Request::new(());
        for value in self.0 {
            request.headers_mut().append(header::ACCEPT_ENCODING, value);
        }
        let mut response = Some(response);
        let answer = service_fn(|_: Request<()>| {
            let response = response.take().expect("called once");
            ready(Ok::<_, Infallible>(response))
        });
        let compressing = CompressionLayer::new().gzip(true).compress_when(Whole);
        let Ok(compressed) = compressing.layer(answer).oneshot(request).await;
        compressed.map(Body::new)
    }
}

/// Chooses answers that are one JSON. A stream shows each message as it comes, and would wait in a compressor for more.
#[derive(Clone, Copy, Debug)]
struct Whole;

impl Predicate for Whole {
    fn should_compress<B: http_body::Body>(&self, response: &Response<B>) -> bool {
        let is_json = || {
            let kind = response.headers().get(header::CONTENT_TYPE);
            kind.is_some_and(|kind| kind == "application/json")
        };
        response.body().size_hint().lower() >= SIZE_MIN && is_json()
    }
}
