//! Runs a handler within its call: until the caller's deadline, and with the context that calls made on the caller's
//! behalf inherit.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    task::futures::TaskLocalFuture,
    time::{Duration, Instant, Sleep, sleep_until},
};
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use super::{catch_panic::trailers, timeout::caller_timeout};
use crate::{
    context::{CallContext, Propagation},
    grpc_timeout::given_up_after,
    server::{route::Routed, sending},
};

/// Makes [`Call`].
#[derive(Clone, Debug)]
pub(crate) struct CallLayer {
    propagation: Arc<Propagation>,
}

impl CallLayer {
    /// Metadata that `propagation` names travels on.
    pub(crate) fn new(propagation: Propagation) -> Self {
        Self {
            propagation: Arc::new(propagation),
        }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Call<S>;

    fn layer(&self, inner: S) -> Call<S> {
        Call {
            inner,
            propagation: Arc::clone(&self.propagation),
        }
    }
}

/// The service that [`CallLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Call<S> {
    inner: S,
    propagation: Arc<Propagation>,
}

impl<S> Call<S> {
    fn context(&self, headers: &HeaderMap) -> Result<(CallContext, Option<Times>), Status> {
        let times = match caller_timeout(headers)? {
            Some(timeout) if timeout.is_zero() => return Err(exceeded()),
            Some(timeout) => Some(Times::new(timeout)),
            None => None,
        };
        let deadline = times.map(|times| times.deadline);
        let context = CallContext::new(deadline, self.propagation.select(headers));
        Ok((context, times))
    }
}

impl<S, R, B> Service<Routed<R>> for Call<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<CallBody<B>>;
    type Error = Infallible;
    type Future = CallFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<R>) -> Self::Future {
        match self.context(routed.request.headers()) {
            Ok((context, times)) => CallFuture::Running {
                handler: context.clone().scope(self.inner.call(routed)),
                timer: times.map(|times| sleep_until(times.deadline)),
                given_up: times.map(|times| times.given_up),
                context,
            },
            Err(status) => CallFuture::Ended { status: Some(status) },
        }
    }
}

/// How long a caller waits, from now on.
#[derive(Clone, Copy, Debug)]
struct Times {
    deadline: Instant,
    /// From when on a caller that gives the call up has waited for as long as it said.
    given_up: Instant,
}

impl Times {
    fn new(timeout: Duration) -> Self {
        let now = Instant::now();
        Self {
            deadline: now + timeout,
            given_up: now + given_up_after(timeout),
        }
    }
}

pin_project! {
    /// The answer of a handler, or DEADLINE_EXCEEDED.
    #[project = Projected]
    pub(crate) enum CallFuture<F> {
        Running {
            #[pin]
            handler: TaskLocalFuture<CallContext, F>,
            #[pin]
            timer: Option<Sleep>,
            given_up: Option<Instant>,
            context: CallContext,
        },
        Ended { status: Option<Status> },
    }
}

impl<F, B> Future for CallFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<CallBody<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let status = match self.as_mut().project() {
            Projected::Running {
                handler,
                timer,
                given_up,
                context,
            } => {
                if let Some(moment) = given_up.take() {
                    sending::given_up_from(moment);
                }
                if let Poll::Ready(Ok(response)) = handler.poll(cx) {
                    let context = std::mem::take(context);
                    return Poll::Ready(Ok(response.map(|body| CallBody::new(body, context))));
                }
                let Some(timer) = timer.as_pin_mut() else {
                    return Poll::Pending;
                };
                ready!(timer.poll(cx));
                exceeded()
            }
            Projected::Ended { status } => status.take().expect("not polled after it is ready"),
        };
        // Whatever the handler holds is let go at its deadline, and not when the answer has been sent.
        self.set(Self::Ended { status: None });
        Poll::Ready(Ok(status.into_http().map(|()| CallBody::ended())))
    }
}

pin_project! {
    /// The body of an answer: a stream that is polled within the call's context, until its deadline.
    ///
    /// While a caller takes nothing, nothing is polled; then the task of the call sees the deadline.
    pub(crate) struct CallBody<B> {
        #[pin]
        inner: Option<B>,
        context: CallContext,
        // Made when the body has to wait for the first time, which the one of a unary call never does.
        #[pin]
        timer: Option<Sleep>,
        streams: bool,
    }
}

impl<B> CallBody<B> {
    fn new(body: B, context: CallContext) -> Self {
        if let Some(deadline) = context.deadline() {
            sending::until(deadline);
        }
        Self {
            inner: Some(body),
            context,
            timer: None,
            streams: false,
        }
    }

    fn ended() -> Self {
        Self {
            inner: None,
            context: CallContext::default(),
            timer: None,
            streams: false,
        }
    }
}

impl<B: Body> Body for CallBody<B> {
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
        let polled = this.context.sync_scope(|| inner.poll_frame(cx));
        let Some(deadline) = this.context.deadline() else {
            return polled;
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                // A stream that never has to wait would pass its deadline unseen. The clock is read from the second
                // message on: a unary answer has one.
                let streams = std::mem::replace(this.streams, true);
                if !streams || Instant::now() < deadline {
                    return polled;
                }
            }
            Poll::Ready(_) => return polled,
            Poll::Pending => {
                if this.timer.is_none() {
                    this.timer.set(Some(sleep_until(deadline)));
                }
                let timer = this.timer.as_mut().as_pin_mut().expect("it was just set");
                ready!(timer.poll(cx));
            }
        }
        this.inner.set(None);
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&exceeded())))))
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

fn exceeded() -> Status {
    Status::deadline_exceeded("the caller's deadline has passed")
}
