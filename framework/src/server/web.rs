//! Measures each request of plain HTTP from its headers to the end of its answer, each part of which has to be taken in time.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use metrics::{Histogram, Unit};
use tokio::time::{Duration, Instant};
use tonic::{Status, body::Body};
use tower::{ServiceExt as _, service_fn};

use super::{layers::handlers::BoxService, sending};
use crate::telemetry::{Metric, Telemetry};

/// The most that is handed over at once: who takes so little in the time that a part has is too slow to wait for.
const PART_MAX: usize = 64 * 1024;
/// How many routes have series of their own.
const ROUTES_MAX: usize = 256;
/// What stands for methods and routes that have none.
const OTHER: &str = "_OTHER";
/// Why a request has no status: its caller left before the answer began.
const CANCELLED: &str = "cancelled";

const DURATION: Metric = Metric {
    name: "http.server.request.duration",
    unit: Unit::Seconds,
    help: "Duration of requests of plain HTTP, to the end of the answer.",
};

/// The route that answered a request: a web service puts it into the extensions of its response, for the metric
/// `http.server.request.duration`.
///
/// It is a template such as `/books/{id}`, never the path of a request. Of one service 256 are told apart.
///
/// ```
/// use micro::HttpRoute;
///
/// let mut response = http::Response::new("a book");
/// response.extensions_mut().insert(HttpRoute::new("/books/{id}"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute(Arc<str>);

impl HttpRoute {
    /// The route with this template.
    pub fn new(template: impl Into<Arc<str>>) -> Self {
        Self(template.into())
    }
}

/// The same service, with each of its answers measured, and over HTTP/2 reset when no part of it is taken for `write_timeout`.
/// `scheme` is that of its requests.
pub(super) fn measured(
    web: BoxService,
    telemetry: &Telemetry,
    scheme: &'static str,
    write_timeout: Duration,
) -> BoxService {
    let meter = Arc::new(Meter {
        telemetry: telemetry.clone(),
        scheme,
        series: Mutex::default(),
    });
    BoxService::new(service_fn(move |request: Request<Body>| {
        let mut measured = Measured {
            meter: Arc::clone(&meter),
            started: Instant::now(),
            method: known(request.method()),
            status: None,
            route: None,
        };
        let answer = web.clone().oneshot(request);
        async move {
            let mut response = answer.await?;
            measured.status = Some(response.status());
            measured.route = response.extensions_mut().remove();
            let body = |inner| {
                Body::new(MeasuredBody {
                    inner,
                    rest: Bytes::new(),
                    write_timeout,
                    _measured: measured,
                })
            };
            Ok::<_, Infallible>(response.map(body))
        }
    }))
}

/// The methods that OpenTelemetry's conventions know; anybody can make others up.
fn known(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        "CONNECT" => "CONNECT",
        "TRACE" => "TRACE",
        _ => OTHER,
    }
}

/// What tells series apart.
type Key = (&'static str, Option<StatusCode>, Option<Arc<str>>);

struct Meter {
    telemetry: Telemetry,
    scheme: &'static str,
    series: Mutex<Series>,
}

#[derive(Default)]
struct Series {
    routes: HashSet<Arc<str>>,
    histograms: HashMap<Key, Histogram>,
}

impl Meter {
    fn histogram(
        &self,
        method: &'static str,
        status: Option<StatusCode>,
        route: Option<HttpRoute>,
    ) -> Histogram {
        let mut series = self.series.lock().expect("no panic while it is locked");
        let route = route.map(|HttpRoute(route)| {
            if series.routes.contains(&route) {
                return route;
            }
            if series.routes.len() >= ROUTES_MAX {
                return Arc::from(OTHER);
            }
            series.routes.insert(Arc::clone(&route));
            route
        });
        let key = (method, status, route);
        if let Some(histogram) = series.histograms.get(&key) {
            return histogram.clone();
        }
        let histogram = self.register(&key);
        series.histograms.insert(key, histogram.clone());
        histogram
    }

    fn register(&self, (method, status, route): &Key) -> Histogram {
        let code = status.map(|status| status.as_u16().to_string());
        let mut labels = vec![("http.request.method", *method), ("url.scheme", self.scheme)];
        labels.extend(route.as_deref().map(|route| ("http.route", route)));
        labels.extend(code.as_deref().map(|code| ("http.response.status_code", code)));
        let is_fault = status.is_none_or(|status| status.is_server_error());
        labels.extend(is_fault.then(|| ("error.type", code.as_deref().unwrap_or(CANCELLED))));
        self.telemetry.histogram(DURATION, &labels)
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").finish_non_exhaustive()
    }
}

/// A request under way; its end is where it is dropped.
#[derive(Debug)]
struct Measured {
    meter: Arc<Meter>,
    started: Instant,
    method: &'static str,
    status: Option<StatusCode>,
    route: Option<HttpRoute>,
}

impl Drop for Measured {
    fn drop(&mut self) {
        let histogram = self.meter.histogram(self.method, self.status, self.route.take());
        histogram.record(self.started.elapsed().as_secs_f64());
    }
}

/// The rest of an answer.
#[derive(Debug)]
struct MeasuredBody {
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
        sending::until(Instant::now() + this.write_timeout);
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
    use http_body_util::BodyExt as _;
    use tokio::time::advance;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn answering(
        answer: impl Fn(&Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> BoxService {
        BoxService::new(service_fn(move |request| {
            std::future::ready(Ok(answer(&request)))
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
        let web = measured(web, &telemetry, "http", TIMEOUT);
        let Ok(answer) = web.clone().oneshot(request("GET", "/books/7")).await;
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
        let silent = BoxService::new(service_fn(|_| std::future::pending()));
        let web = measured(silent, &telemetry, "http", TIMEOUT);
        let mut answer = Box::pin(web.oneshot(request("MADE-UP", "/")));
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
        let web = measured(web, &telemetry, "https", TIMEOUT);
        for number in 0..ROUTES_MAX + 10 {
            let path = format!("/{number}");
            let Ok(_) = web.clone().oneshot(request("GET", &path)).await;
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
        let web = measured(web, &Telemetry::new(), "http", TIMEOUT);
        let Ok(answer) = web.oneshot(request("GET", "/")).await;
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
