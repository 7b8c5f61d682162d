//! A service of plain HTTP: each request is measured from its headers to the end of its answer, each part of which has to be
//! taken in time.

mod meter;

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::Duration;
use tonic::{Status, body::Body};
use tower::ServiceExt as _;
use tower_service::Service;

pub use self::meter::HttpRoute;
use self::meter::{Measured, Meter};
use super::{layers::handlers::BoxError, sending};
use crate::telemetry::Telemetry;

/// The most that is handed over at once: who takes so little in the time that a part has is too slow to wait for.
const PART_MAX: usize = 64 * 1024;

/// A service of plain HTTP of the user's. Cheap to clone, whatever a clone of the user's own costs.
#[derive(Clone)]
pub(crate) struct Web(Arc<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>);

impl Web {
    pub(crate) fn new<S, B>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Arc::new(move |request| {
            let answer = service.clone().oneshot(request);
            Box::pin(async move {
                let Ok(response) = answer.await;
                response.map(Body::new)
            })
        }))
    }

    /// The same, with each of its answers measured, and over HTTP/2 reset when no part of it is taken for `write_timeout`.
    /// `scheme` is that of its requests.
    pub(crate) fn measured(
        self,
        telemetry: &Telemetry,
        scheme: &'static str,
        write_timeout: Duration,
    ) -> MeasuredWeb {
        MeasuredWeb {
            web: self,
            meter: Arc::new(Meter::new(telemetry, scheme)),
            write_timeout,
        }
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

/// What [`Web::measured`] makes.
#[derive(Clone, Debug)]
pub(crate) struct MeasuredWeb {
    web: Web,
    meter: Arc<Meter>,
    write_timeout: Duration,
}

impl MeasuredWeb {
    pub(crate) fn answer(&self, request: Request<Body>) -> Answering {
        Answering {
            measured: Some(Measured::new(&self.meter, request.method())),
            answer: (self.web.0)(request),
            write_timeout: self.write_timeout,
        }
    }
}

/// An answer on its way.
pub(crate) struct Answering {
    answer: BoxFuture<'static, Response<Body>>,
    measured: Option<Measured>,
    write_timeout: Duration,
}

impl Future for Answering {
    type Output = Response<MeasuredBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.answer.as_mut().poll(cx));
        let mut measured = self.measured.take().expect("not polled after it is ready");
        measured.answered(&mut response);
        Poll::Ready(response.map(|inner| MeasuredBody {
            inner,
            rest: Bytes::new(),
            write_timeout: self.write_timeout,
            _measured: measured,
        }))
    }
}

/// The rest of an answer.
#[derive(Debug)]
pub(crate) struct MeasuredBody {
    inner: Body,
    /// What is left of a part that was too large.
    rest: Bytes,
    write_timeout: Duration,
    _measured: Measured,
}

impl http_body::Body for MeasuredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            match Pin::new(&mut this.inner).poll_frame(cx).map_ok(Frame::into_data) {
                Poll::Ready(Some(Ok(Ok(data)))) => this.rest = data,
                Poll::Ready(Some(Ok(Err(others)))) => return Poll::Ready(Some(Ok(others))),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    sending::whenever();
                    return Poll::Pending;
                }
            }
        }
        sending::within(this.write_timeout);
        let part = this.rest.split_to(this.rest.len().min(PART_MAX));
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use http_body_util::BodyExt as _;
    use tokio::time::advance;
    use tower::service_fn;

    use super::{meter::ROUTES_MAX, *};

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn answering(answer: impl Fn(&Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static) -> Web {
        Web::new(service_fn(move |request| {
            std::future::ready(Ok::<_, Infallible>(answer(&request)))
        }))
    }

    fn request(method: &str, path: &str) -> Request<Body> {
        Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_told_apart_by_method_route_and_status_until_their_answer_ends() {
        let telemetry = Telemetry::new();
        let web = answering(|_| {
            let mut response = Response::new(Body::new(http_body_util::Full::from("a book")));
            *response.status_mut() = StatusCode::BAD_GATEWAY;
            response.extensions_mut().insert(HttpRoute::new("/books/{id}"));
            response
        });
        let web = web.measured(&telemetry, "http", TIMEOUT);
        let answer = web.answer(request("GET", "/books/7")).await;
        assert!(!telemetry.render().contains("http_server"), "the answer goes on");
        advance(Duration::from_secs(3)).await;
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "a book");
        let text = telemetry.render();
        let labels = "{http_request_method=\"GET\",url_scheme=\"http\",http_route=\"/books/{id}\",\
                      http_response_status_code=\"502\",error_type=\"502\"}";
        assert!(
            text.contains(&format!("http_server_request_duration_seconds_sum{labels} 3")),
            "{text}"
        );
        assert!(!text.contains("/books/7"), "{text}");
    }

    #[tokio::test]
    async fn who_leaves_before_the_answer_has_no_status_and_a_method_that_is_made_up_no_series() {
        let telemetry = Telemetry::new();
        let silent = Web::new(service_fn(|_| {
            std::future::pending::<Result<Response<Body>, Infallible>>()
        }));
        let web = silent.measured(&telemetry, "http", TIMEOUT);
        let mut answer = web.answer(request("MADE-UP", "/"));
        assert!(futures_util::poll!(&mut answer).is_pending());
        drop(answer);
        let text = telemetry.render();
        let labels = "{http_request_method=\"_OTHER\",url_scheme=\"http\",error_type=\"cancelled\"} 1";
        assert!(
            text.contains(&format!("duration_seconds_count{labels}")),
            "{text}"
        );
    }

    #[tokio::test]
    async fn further_routes_share_one_series() {
        let telemetry = Telemetry::new();
        let web = answering(|request| {
            let mut response = Response::new(Body::empty());
            response
                .extensions_mut()
                .insert(HttpRoute::new(request.uri().path()));
            response
        });
        let web = web.measured(&telemetry, "https", TIMEOUT);
        for number in 0..ROUTES_MAX + 10 {
            let path = format!("/{number}");
            drop(web.answer(request("GET", &path)).await);
        }
        let text = telemetry.render();
        let series = |line: &&str| line.starts_with("http_server_request_duration_seconds_count");
        assert_eq!(text.lines().filter(series).count(), ROUTES_MAX + 1);
        assert!(
            text.contains("http_route=\"_OTHER\",http_response_status_code=\"200\"} 10"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_answer_is_handed_over_in_parts_and_is_the_same() {
        let whole: Bytes = (0..PART_MAX * 2 + 7).map(|at| at.to_le_bytes()[0]).collect();
        let given = whole.clone();
        let web = answering(move |_| Response::new(Body::new(http_body_util::Full::from(given.clone()))));
        let web = web.measured(&Telemetry::new(), "http", TIMEOUT);
        let answer = web.answer(request("GET", "/")).await;
        let mut body = answer.into_body();
        let (mut sizes, mut taken) = (Vec::new(), Vec::new());
        while let Some(frame) = body.frame().await {
            assert!(!body.is_end_stream() || sizes.len() == 2);
            let data = frame.unwrap().into_data().unwrap();
            sizes.push(data.len());
            taken.extend_from_slice(&data);
            let left = (whole.len() - taken.len()) as u64;
            assert_eq!(body.size_hint().exact(), Some(left));
        }
        assert_eq!(sizes, [PART_MAX, PART_MAX, 7]);
        assert_eq!(taken, whole);
    }
}
