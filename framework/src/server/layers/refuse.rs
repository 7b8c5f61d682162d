//! Refuses a call that was meant for another service, before anything of this one sees it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body::{Body, Frame, SizeHint};
use micro_registry::ServiceName;
use pin_project_lite::pin_project;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use crate::server::route::Routed;

/// The registry name of the service that the caller means. No such header: no check.
pub(crate) const SERVICE: HeaderName = HeaderName::from_static("micro-service");

/// Says that no handler has seen the call, so that its caller may send it elsewhere. Nobody but this layer may say so.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("micro-refused");
const WRONG_SERVICE: HeaderValue = HeaderValue::from_static("wrong-service");

/// Makes [`Refuse`].
#[derive(Clone, Debug)]
pub(crate) struct RefuseLayer {
    name: ServiceName,
}

impl RefuseLayer {
    /// Lets pass what is meant for `name`, and what does not say.
    pub(crate) fn new(name: ServiceName) -> Self {
        Self { name }
    }
}

impl<S> Layer<S> for RefuseLayer {
    type Service = Refuse<S>;

    fn layer(&self, inner: S) -> Refuse<S> {
        Refuse {
            inner,
            name: self.name.clone(),
        }
    }
}

/// The service that [`RefuseLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Refuse<S> {
    inner: S,
    name: ServiceName,
}

impl<S> Refuse<S> {
    fn refusal(&self, headers: &HeaderMap) -> Option<Response<()>> {
        let other = headers
            .get_all(SERVICE)
            .iter()
            .find(|value| value.as_bytes() != self.name.as_str().as_bytes())?;
        let message = format!(
            "the call is for service {:?}, and this is `{}`",
            String::from_utf8_lossy(other.as_bytes()),
            self.name
        );
        let mut response = Status::failed_precondition(message).into_http();
        response.headers_mut().insert(REFUSED, WRONG_SERVICE);
        Some(response)
    }
}

impl<S, R, B> Service<Routed<R>> for Refuse<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<RefuseBody<B>>;
    type Error = Infallible;
    type Future = RefuseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<R>) -> Self::Future {
        match self.refusal(routed.request.headers()) {
            Some(response) => RefuseFuture::Refused {
                response: Some(response),
            },
            None => RefuseFuture::Passed {
                inner: self.inner.call(routed),
            },
        }
    }
}

pin_project! {
    /// The refusal, or the answer of a handler without the mark of one.
    #[project = Projected]
    pub(crate) enum RefuseFuture<F> {
        Refused { response: Option<Response<()>> },
        Passed { #[pin] inner: F },
    }
}

impl<F, B> Future for RefuseFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<RefuseBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { response } => {
                let response = response.take().expect("not polled after it is ready");
                Poll::Ready(Ok(response.map(|()| RefuseBody { inner: None })))
            }
            Projected::Passed { inner } => {
                let Ok(mut response) = ready!(inner.poll(cx));
                response.headers_mut().remove(REFUSED);
                Poll::Ready(Ok(response.map(|body| RefuseBody { inner: Some(body) })))
            }
        }
    }
}

pin_project! {
    /// A body whose trailers do not carry the mark of a refusal either.
    pub(crate) struct RefuseBody<B> {
        #[pin]
        inner: Option<B>,
    }
}

impl<B: Body> Body for RefuseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let Some(inner) = self.project().inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let mut polled = inner.poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &mut polled
            && let Some(trailers) = frame.trailers_mut()
        {
            trailers.remove(REFUSED);
        }
        polled
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
