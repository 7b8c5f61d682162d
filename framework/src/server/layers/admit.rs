//! Admits a call to the code of users, or says why not; and says what is missing where handlers only say that something is.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Code, Status};
use tower_layer::Layer;
use tower_service::Service;

use crate::server::{load::Place, route::Routed};

/// Makes [`Admit`].
#[derive(Clone, Debug)]
pub(crate) struct AdmitLayer;

impl<S> Layer<S> for AdmitLayer {
    type Service = Admit<S>;

    fn layer(&self, inner: S) -> Admit<S> {
        Admit { inner }
    }
}

/// The service that [`AdmitLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Admit<S> {
    inner: S,
}

impl<S, R, B> Service<Routed<R>> for Admit<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<AdmitBody<B>>;
    type Error = Infallible;
    type Future = AdmitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<R>) -> Self::Future {
        match routed.route.admit() {
            Ok(place) => AdmitFuture::Admitted {
                unknown: routed.unknown_path(),
                inner: self.inner.call(routed),
                place,
            },
            Err(status) => AdmitFuture::Refused { status: Some(status) },
        }
    }
}

pin_project! {
    /// The refusal, or the answer of a handler.
    #[project = Projected]
    pub(crate) enum AdmitFuture<F> {
        Refused { status: Option<Status> },
        Admitted { #[pin] inner: F, place: Option<Place>, unknown: Option<PathAndQuery> },
    }
}

impl<F, B> Future for AdmitFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<AdmitBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { status } => {
                let status = status.take().expect("not polled after it is ready");
                Poll::Ready(Ok(status.into_http().map(|()| AdmitBody {
                    inner: None,
                    place: None,
                })))
            }
            Projected::Admitted {
                inner,
                place,
                unknown,
            } => {
                let Ok(mut response) = ready!(inner.poll(cx));
                if let Some(path) = unknown {
                    name_missing(response.headers_mut(), path);
                }
                Poll::Ready(Ok(response.map(|body| AdmitBody {
                    inner: Some(body),
                    place: place.take(),
                })))
            }
        }
    }
}

/// Says which method is not there. Generated code and tonic's routes answer UNIMPLEMENTED and not a word.
fn name_missing(headers: &mut HeaderMap, path: &PathAndQuery) {
    let is_bare = !headers.contains_key(Status::GRPC_MESSAGE)
        && headers
            .get(Status::GRPC_STATUS)
            .is_some_and(|code| Code::from_bytes(code.as_bytes()) == Code::Unimplemented);
    if is_bare {
        let status = Status::unimplemented(format!("this server has no method `{}`", path.path()));
        // Percent-encoded, it is a header value.
        let _ = status.add_header(headers);
    }
}

pin_project! {
    /// The body of a handler's answer, or none. Its call has its place until it ends.
    pub(crate) struct AdmitBody<B> {
        #[pin]
        inner: Option<B>,
        place: Option<Place>,
    }
}

impl<B: Body> Body for AdmitBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
