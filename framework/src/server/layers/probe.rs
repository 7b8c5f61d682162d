//! Answers `/health`, `/ready` and `/metrics` over plain HTTP, hands what else is plain HTTP to the user's web service, and
//! says what there is where there is none.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::{Status, body::Body as TonicBody};
use tower_layer::Layer;
use tower_service::Service;

use super::handlers::BoxError;
use crate::{
    server::{
        Health,
        web::{Answering, MeasuredBody, MeasuredWeb},
    },
    telemetry::Telemetry,
};

/// Makes [`Probe`].
#[derive(Clone, Debug)]
pub(crate) struct ProbeLayer {
    health: Health,
    telemetry: Telemetry,
    web: Option<MeasuredWeb>,
}

impl ProbeLayer {
    /// Answers by `health`, and renders `telemetry`.
    pub(crate) fn new(health: Health, telemetry: Telemetry) -> Self {
        Self {
            health,
            telemetry,
            web: None,
        }
    }

    /// Hands what is plain HTTP and no probe to `web`.
    pub(crate) fn web(mut self, web: Option<MeasuredWeb>) -> Self {
        self.web = web;
        self
    }
}

impl<S> Layer<S> for ProbeLayer {
    type Service = Probe<S>;

    fn layer(&self, inner: S) -> Probe<S> {
        Probe {
            inner,
            health: self.health.clone(),
            telemetry: self.telemetry.clone(),
            web: self.web.clone(),
        }
    }
}

/// The service that [`ProbeLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct Probe<S> {
    inner: S,
    health: Health,
    telemetry: Telemetry,
    web: Option<MeasuredWeb>,
}

/// Who answers a request.
enum Answerer<'a> {
    Probe(Answer),
    Web(&'a MeasuredWeb),
    Handler,
}

impl<S> Probe<S> {
    fn answerer<R>(&self, request: &Request<R>) -> Answerer<'_> {
        let answer = match request.uri().path() {
            // Liveness: this process answers, and that is all that restarting it could mend.
            "/health" => Answer::new(StatusCode::OK, "ok\n"),
            "/ready" if self.health.is_ready() => Answer::new(StatusCode::OK, "ready\n"),
            "/ready" => Answer::new(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            "/metrics" => Answer::metrics(self.telemetry.render()),
            _ if self.web.is_none() && request.version() == Version::HTTP_2 => return Answerer::Handler,
            _ if is_grpc(request.headers()) && request.version() == Version::HTTP_2 => {
                return Answerer::Handler;
            }
            _ if is_grpc(request.headers()) => Answer::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2 (with prior knowledge, where there is no TLS)\n",
            ),
            _ => match &self.web {
                Some(web) => return Answerer::Web(web),
                None => Answer::new(
                    StatusCode::NOT_FOUND,
                    "not found; over HTTP/1.1 there are /health, /ready and /metrics\n",
                ),
            },
        };
        Answerer::Probe(answer.to(request.method()))
    }
}

/// Whether it is gRPC itself: `application/grpc`, or with `+proto` and the like; gRPC-Web is plain HTTP.
fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE);
    let rest = content_type.and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Plain text: a few words, or the metrics.
#[derive(Clone, Debug)]
struct Answer {
    status: StatusCode,
    content_type: HeaderValue,
    text: Bytes,
    with_body: bool,
}

impl Answer {
    fn new(status: StatusCode, text: &'static str) -> Self {
        Self {
            status,
            content_type: PLAIN_TEXT,
            text: Bytes::from_static(text.as_bytes()),
            with_body: true,
        }
    }

    fn metrics(text: String) -> Self {
        Self {
            content_type: PROMETHEUS_TEXT,
            text: text.into(),
            ..Self::new(StatusCode::OK, "")
        }
    }

    /// The same, as `method` wants it.
    fn to(mut self, method: &Method) -> Self {
        self.with_body = *method != Method::HEAD;
        if *method == Method::GET || *method == Method::HEAD || !self.status.is_success() {
            return self;
        }
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n")
    }

    fn into_response<B>(self) -> Response<ProbeBody<B>> {
        let length = HeaderValue::from(self.text.len());
        let mut response = Response::new(ProbeBody::Text {
            text: self.with_body.then_some(self.text),
        });
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, self.content_type);
        headers.insert(header::CONTENT_LENGTH, length);
        // A state of this moment: nobody in between may keep it.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

impl<S, R, B> Service<Request<R>> for Probe<S>
where
    S: Service<Request<R>, Response = Response<B>, Error = Infallible>,
    R: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<ProbeBody<B>>;
    type Error = Infallible;
    type Future = ProbeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        match self.answerer(&request) {
            Answerer::Probe(answer) => ProbeFuture::Answered { answer: Some(answer) },
            Answerer::Web(web) => ProbeFuture::Web {
                future: web.answer(request.map(TonicBody::new)),
            },
            Answerer::Handler => ProbeFuture::Passed {
                inner: self.inner.call(request),
            },
        }
    }
}

pin_project! {
    /// The answer to a probe, or that of a handler, or of the web service.
    #[project = ProjectedFuture]
    pub(crate) enum ProbeFuture<F> {
        Answered { answer: Option<Answer> },
        Web { #[pin] future: Answering },
        Passed { #[pin] inner: F },
    }
}

impl<F, B> Future for ProbeFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<ProbeBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            ProjectedFuture::Answered { answer } => {
                let answer = answer.take().expect("not polled after it is ready");
                Poll::Ready(Ok(answer.into_response()))
            }
            ProjectedFuture::Web { future } => {
                let response = ready!(future.poll(cx));
                Poll::Ready(Ok(response.map(|inner| ProbeBody::Web { inner })))
            }
            ProjectedFuture::Passed { inner } => {
                let Ok(response) = ready!(inner.poll(cx));
                Poll::Ready(Ok(response.map(|inner| ProbeBody::Passed { inner })))
            }
        }
    }
}

pin_project! {
    /// A few words, or the body of a handler's answer, or of the web service's.
    #[project = ProjectedBody]
    pub(crate) enum ProbeBody<B> {
        Text { text: Option<Bytes> },
        Web { #[pin] inner: MeasuredBody },
        Passed { #[pin] inner: B },
    }
}

impl<B: Body<Data = Bytes, Error = Status>> Body for ProbeBody<B> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.project() {
            ProjectedBody::Text { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            ProjectedBody::Web { inner } => inner.poll_frame(cx),
            ProjectedBody::Passed { inner } => inner.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text { text } => text.is_none(),
            Self::Web { inner } => inner.is_end_stream(),
            Self::Passed { inner } => inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text { text } => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Self::Web { inner } => inner.size_hint(),
            Self::Passed { inner } => inner.size_hint(),
        }
    }
}
