//! Measures each call from its headers to the end of its answer, within a span of its own.

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
use tokio::time::Instant;
use tonic::{Code, Status, transport::server::TcpConnectInfo};
use tower_layer::Layer;
use tower_service::Service;
use tracing::{Span, field::Empty, info_span};

use crate::{
    server::{
        route::{Route, Routed},
        sending,
    },
    telemetry::{code_name, is_fault, trace},
};

/// Makes [`Measure`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasureLayer;

impl<S> Layer<S> for MeasureLayer {
    type Service = Measure<S>;

    fn layer(&self, inner: S) -> Measure<S> {
        Measure { inner }
    }
}

/// The service that [`MeasureLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Measure<S> {
    inner: S,
}

impl<S, R, B> Service<Routed<R>> for Measure<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<MeasureBody<B>>;
    type Error = Infallible;
    type Future = MeasureFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, routed: Routed<R>) -> Self::Future {
        let measured = Measured::begin(&routed);
        let inner = measured.span.in_scope(|| self.inner.call(routed));
        MeasureFuture {
            inner,
            measured: Some(measured),
        }
    }
}

/// How much is told of a path that leads to no method: callers make it up.
const ORIGINAL_MAX: usize = 256;

/// A call under way; its end is where it is dropped.
struct Measured {
    route: Arc<Route>,
    started: Instant,
    span: Span,
    /// `None` until the answer has told it: a call that is dropped before was given up by its caller, at its deadline or
    /// before.
    code: Option<Code>,
}

impl Measured {
    fn begin<R>(routed: &Routed<R>) -> Self {
        let (route, request) = (Arc::clone(&routed.route), &routed.request);
        let span = info_span!(
            "call",
            otel.kind = "server",
            otel.name = Empty,
            otel.status_code = Empty,
            rpc.system.name = "grpc",
            rpc.method = route.name(),
            rpc.method_original = Empty,
            rpc.response.status_code = Empty,
            error.type = Empty,
            network.peer.address = Empty,
            network.peer.port = Empty,
        );
        if !span.is_disabled() {
            if route.is_unknown() {
                trace::name(&span, "grpc");
                span.record("rpc.method_original", original(request.uri().path()));
            } else {
                trace::name(&span, route.name());
            }
            let connection = request.extensions().get::<TcpConnectInfo>();
            if let Some(peer) = connection.and_then(TcpConnectInfo::remote_addr) {
                span.record("network.peer.address", peer.ip().to_string());
                span.record("network.peer.port", peer.port());
            }
            trace::go_on(&span, request.headers());
        }
        Self {
            route,
            started: Instant::now(),
            span,
            code: None,
        }
    }

    /// Takes notice of the status in `headers`, if it is there.
    fn see(&mut self, headers: &HeaderMap) {
        if let Some(value) = headers.get(Status::GRPC_STATUS) {
            self.code = Some(Code::from_bytes(value.as_bytes()));
        }
    }
}

/// What a caller asked for, as far as it is told.
fn original(path: &str) -> &str {
    let method = path.strip_prefix('/').unwrap_or(path);
    // A path is ASCII as a rule; of one that is not, less is told.
    (0..=ORIGINAL_MAX.min(method.len()))
        .rev()
        .find_map(|end| method.get(..end))
        .unwrap_or_default()
}

impl Drop for Measured {
    fn drop(&mut self) {
        let code = self.code.unwrap_or_else(|| {
            if sending::is_cut() {
                Code::DeadlineExceeded
            } else {
                Code::Cancelled
            }
        });
        self.span.record("rpc.response.status_code", code_name(code));
        if is_fault(code) {
            self.span.record("error.type", code_name(code));
            self.span.record("otel.status_code", "ERROR");
        }
        self.route.ended(code, self.started.elapsed());
    }
}

pin_project! {
    /// The answer on its way.
    pub(crate) struct MeasureFuture<F> {
        #[pin]
        inner: F,
        measured: Option<Measured>,
    }
}

impl<F, B> Future for MeasureFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<MeasureBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = {
            let _entered = this.measured.as_ref().map(|measured| measured.span.enter());
            this.inner.poll(cx)
        };
        let Ok(response) = ready!(polled);
        let mut measured = this.measured.take();
        if let Some(measured) = &mut measured {
            measured.see(response.headers());
        }
        Poll::Ready(Ok(response.map(|inner| MeasureBody { inner, measured })))
    }
}

pin_project! {
    /// The rest of an answer.
    pub(crate) struct MeasureBody<B> {
        #[pin]
        inner: B,
        measured: Option<Measured>,
    }
}

impl<B: Body> Body for MeasureBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(measured) = this.measured else {
            return this.inner.poll_frame(cx);
        };
        let polled = {
            let _entered = measured.span.enter();
            this.inner.poll_frame(cx)
        };
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    measured.see(trailers);
                }
            }
            // An answer that says no more, or fails, and never said how it went.
            Poll::Ready(None | Some(Err(_))) => {
                measured.code.get_or_insert(Code::Unknown);
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
