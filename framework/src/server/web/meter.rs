//! Counts and times the requests of a web service by method, route and status.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex},
};

use http::{Method, Response, StatusCode};
use metrics::{Histogram, Unit};
use tokio::time::Instant;

use crate::telemetry::{Metric, Telemetry};

/// How many routes have series of their own.
pub(super) const ROUTES_MAX: usize = 256;
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

pub(super) struct Meter {
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
    /// `scheme` is that of the requests.
    pub(super) fn new(telemetry: &Telemetry, scheme: &'static str) -> Self {
        Self {
            telemetry: telemetry.clone(),
            scheme,
            series: Mutex::default(),
        }
    }

    fn histogram(
        &self,
        method: &'static str,
        status: Option<StatusCode>,
        route: Option<HttpRoute>,
    ) -> Histogram {
        let mut series = self.series.lock().expect("no panic while it is locked");
        let mut key = (method, status, route.map(|HttpRoute(route)| route));
        if let Some(histogram) = series.histograms.get(&key) {
            return histogram.clone();
        }
        if let Some(route) = &mut key.2 {
            if series.routes.contains(route) || series.routes.len() < ROUTES_MAX {
                series.routes.insert(Arc::clone(route));
            } else {
                *route = Arc::from(OTHER);
            }
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
pub(super) struct Measured {
    meter: Arc<Meter>,
    started: Instant,
    method: &'static str,
    status: Option<StatusCode>,
    route: Option<HttpRoute>,
}

impl Measured {
    /// A request with this method begins.
    pub(super) fn new(meter: &Arc<Meter>, method: &Method) -> Self {
        Self {
            meter: Arc::clone(meter),
            started: Instant::now(),
            method: known(method),
            status: None,
            route: None,
        }
    }

    /// Its answer begins, of which it takes the route.
    pub(super) fn answered<B>(&mut self, response: &mut Response<B>) {
        self.status = Some(response.status());
        self.route = response.extensions_mut().remove();
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        let histogram = self.meter.histogram(self.method, self.status, self.route.take());
        histogram.record(self.started.elapsed().as_secs_f64());
    }
}
