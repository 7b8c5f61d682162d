//! Turns a panic of a handler into INTERNAL, in the call and in the stream that it answers with.

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use http::{HeaderMap, Response, uri::PathAndQuery};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;
use tracing::error;

use crate::server::route::Routed;

/// Makes [`CatchPanic`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct CatchPanicLayer;

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

/// The service that [`CatchPanicLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S, R, B> Service<Routed<R>> for CatchPanic<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<CatchPanicBody<B>>;
    type Error = Infallible;
    type Future = CatchPanicFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<R>) -> Self::Future {
        let method = routed.request.uri().path_and_query().cloned();
        // Making the future may run code of the user's too, and here a panic would end the whole connection.
        let inner = catch(&method, || self.inner.call(routed)).ok();
        CatchPanicFuture { inner, method }
    }
}

pin_project! {
    /// The answer of a handler, or INTERNAL.
    pub(crate) struct CatchPanicFuture<F> {
        // `None` once it has panicked: what is left of it is not polled again.
        #[pin]
        inner: Option<F>,
        method: Option<PathAndQuery>,
    }
}

impl<F, B> Future for CatchPanicFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CatchPanicBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let answer = match this.inner.as_mut().as_pin_mut() {
            Some(inner) => catch(this.method, || inner.poll(cx)),
            None => Err(Panicked),
        };
        match answer {
            Ok(answer) => answer.map_ok(|response| {
                response.map(|body| CatchPanicBody {
                    inner: Some(body),
                    method: this.method.take(),
                })
            }),
            Err(Panicked) => {
                // Dropping what panicked may panic again, which the process has reported by then.
                let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
                Poll::Ready(Ok(internal().into_http().map(|()| CatchPanicBody {
                    inner: None,
                    method: None,
                })))
            }
        }
    }
}

pin_project! {
    /// A body whose panic ends it with INTERNAL.
    pub(crate) struct CatchPanicBody<B> {
        #[pin]
        inner: Option<B>,
        method: Option<PathAndQuery>,
    }
}

impl<B: Body> Body for CatchPanicBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        match catch(this.method, || inner.poll_frame(cx)) {
            Ok(polled) => polled,
            Err(Panicked) => {
                // As above.
                let _ = catch_unwind(AssertUnwindSafe(|| this.inner.set(None)));
                Poll::Ready(Some(Ok(Frame::trailers(trailers(&internal())))))
            }
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

/// A status as the trailers that end a stream.
pub(super) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    status
        .add_header(&mut trailers)
        .expect("our own messages are plain text");
    trailers
}

/// The caller learns that the handler failed, and not how: a panic's text is for those who run the service.
fn internal() -> Status {
    Status::internal("the handler panicked")
}

struct Panicked;

/// Runs `work`, which is dropped and not looked at again if it panics.
fn catch<T>(method: &Option<PathAndQuery>, work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let method = method.as_ref().map_or("", PathAndQuery::path);
        error!(method, panic = text(&*panic), "a handler panicked");
        Panicked
    })
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("not a text")
}
