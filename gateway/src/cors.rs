//! Which pages of other origins may call, and what their browsers are told.

use std::{fmt, time::Duration};

use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use serde::{Deserialize, Deserializer, de::Error as _};
use tonic::Code;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

use crate::{fault::Fault, headers, settings::duration};

/// How long a browser may remember what it was told.
const MAX_AGE: Duration = Duration::from_secs(600);
/// What a page may send besides what any page may.
const REQUEST_HEADERS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    headers::REQUEST_ID,
    headers::REQUEST_TIMEOUT,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
];
/// What a page may read of an answer besides what any page may.
const RESPONSE_HEADERS: [HeaderName; 8] = [
    headers::REQUEST_ID,
    header::ALLOW,
    header::ETAG,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// The table `[gateway.cors]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(crate) struct Cors {
    origins: Vec<Origin>,
    /// Whether pages may send cookies and the like.
    #[serde(default)]
    credentials: bool,
    #[serde(default = "max_age", deserialize_with = "duration")]
    max_age: Duration,
}

fn max_age() -> Duration {
    MAX_AGE
}

impl Cors {
    /// What answers preflights, and marks answers. `forwarded` are headers that calls need.
    pub(crate) fn layer(&self, forwarded: impl Iterator<Item = HeaderName>) -> CorsLayer {
        let origins: Vec<_> = self.origins.iter().map(|origin| origin.0.clone()).collect();
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::list(REQUEST_HEADERS.into_iter().chain(forwarded)))
            .expose_headers(RESPONSE_HEADERS)
            .allow_credentials(self.credentials)
            .max_age(self.max_age)
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|allowed| allowed.0 == origin)
    }
}

/// Whether a browser asks what a page may do, rather than what there is.
pub(crate) fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(header::ORIGIN)
        && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Refuses what a page of another origin sends without having asked, as browsers let it with some kinds of requests.
pub(crate) fn check_page<B>(request: &Request<B>, cors: Option<&Cors>) -> Result<(), Fault> {
    let Some(origin) = request.headers().get(header::ORIGIN) else {
        return Ok(());
    };
    let changes_nothing = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let of_uri = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let host = of_uri.or_else(|| request.headers().get(header::HOST).map(HeaderValue::as_bytes));
    let own = origin
        .as_bytes()
        .splitn(2, |byte| *byte == b'/')
        .nth(1)
        .and_then(|rest| rest.strip_prefix(b"/"));
    let is_own = own.is_some() && own.map(<[u8]>::to_ascii_lowercase) == host.map(<[u8]>::to_ascii_lowercase);
    if changes_nothing || is_own || cors.is_some_and(|cors| cors.allows(origin)) {
        return Ok(());
    }
    Err(Fault::new(
        StatusCode::FORBIDDEN,
        Code::PermissionDenied,
        "pages of this origin may not call",
    ))
}

/// `https://app.example.com`
#[derive(Clone, PartialEq, Eq)]
struct Origin(HeaderValue);

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let uri: Option<Uri> = text.parse().ok();
        let is_origin = uri.is_some_and(|uri| {
            let authority = uri.authority().map(|authority| authority.as_str().to_owned());
            let scheme = uri
                .scheme_str()
                .filter(|scheme| matches!(*scheme, "http" | "https"));
            let (Some(scheme), Some(authority)) = (scheme, authority) else {
                return false;
            };
            !authority.contains('@') && text == format!("{scheme}://{authority}").to_ascii_lowercase()
        });
        match HeaderValue::from_str(&text) {
            Ok(value) if is_origin => Ok(Self(value)),
            _ => Err(D::Error::custom(format!(
                "{text:?} is no origin; expected is one as browsers send it, such as `https://app.example.com` or \
                 `http://localhost:3000`"
            ))),
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        toml::from_str("origins = ['https://app.example.com', 'http://localhost:3000']").unwrap()
    }

    fn refused(method: &str, origin: &str, host: &str, cors: Option<&Cors>) -> bool {
        let request = Request::builder()
            .method(method)
            .uri("/a/b")
            .header("origin", origin)
            .header("host", host);
        check_page(&request.body(()).unwrap(), cors).is_err()
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing_unless_it_is_listed() {
        let cors = cors();
        for (origin, is_refused) in [
            ("https://app.example.com", false),
            ("http://localhost:8080", false),
            ("https://LOCALHOST:8080", false),
            ("https://evil.example", true),
            ("https://app.example.com.evil.example", true),
            ("http://app.example.com", true),
            ("null", true),
            ("localhost:8080", true),
        ] {
            assert_eq!(
                refused("POST", origin, "localhost:8080", Some(&cors)),
                is_refused,
                "{origin}"
            );
            assert!(!refused("GET", origin, "localhost:8080", Some(&cors)), "{origin}");
        }
        assert!(refused(
            "DELETE",
            "https://app.example.com",
            "localhost:8080",
            None
        ));
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for text in [
            "*",
            "null",
            "app.example.com",
            "https://a/",
            "https://a/b",
            "HTTPS://a",
            "https://u@a",
            "ftp://a",
            "",
        ] {
            let error = toml::from_str::<Cors>(&format!("origins = ['{text}']")).unwrap_err();
            assert!(error.to_string().contains("is no origin"), "{text}: {error}");
        }
    }
}
