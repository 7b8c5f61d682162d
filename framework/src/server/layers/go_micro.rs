//! Speaks as Go Micro's servers do with callers of Go Micro's: how long they wait, what they send, and how an error
//! reads.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};
use micro_registry::ServiceName;
use pin_project_lite::pin_project;
use tokio::time::Duration;
use tonic::Status;
use tower_layer::Layer;
use tower_service::Service;

use super::go_micro_error;
use crate::{
    grpc_timeout::{self, GRPC_TIMEOUT},
    server::route::Routed,
};

/// Callers of Go Micro's send it, and nobody else does.
const MARK: HeaderName = HeaderName::from_static("x-content-type");

/// How long they wait, in decimal nanoseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("timeout");

/// What tonic's codecs read.
const CONTENT_TYPES: [&[u8]; 2] = [b"application/grpc", b"application/grpc+proto"];

/// Makes [`GoMicro`].
#[derive(Clone, Debug)]
pub(crate) struct GoMicroLayer {
    name: ServiceName,
}

impl GoMicroLayer {
    /// Errors come from the service `name`.
    pub(crate) fn new(name: ServiceName) -> Self {
        Self { name }
    }
}

impl<S> Layer<S> for GoMicroLayer {
    type Service = GoMicro<S>;

    fn layer(&self, inner: S) -> GoMicro<S> {
        GoMicro {
            inner,
            name: Arc::from(self.name.as_str()),
        }
    }
}

/// The service that [`GoMicroLayer`] makes.
#[derive(Clone, Debug)]
pub(crate) struct GoMicro<S> {
    inner: S,
    name: Arc<str>,
}

impl<S, R, B> Service<Routed<R>> for GoMicro<S>
where
    S: Service<Routed<R>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<GoMicroBody<B>>;
    type Error = Infallible;
    type Future = GoMicroFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut routed: Routed<R>) -> Self::Future {
        let headers = routed.request.headers_mut();
        if !headers.contains_key(MARK) {
            return GoMicroFuture::Passed {
                inner: self.inner.call(routed),
                name: None,
            };
        }
        if let Err(status) = check_content_type(headers) {
            return GoMicroFuture::Refused {
                status: Some(status),
                name: Arc::clone(&self.name),
            };
        }
        take_timeout(headers);
        GoMicroFuture::Passed {
            inner: self.inner.call(routed),
            name: Some(Arc::clone(&self.name)),
        }
    }
}

/// Go Micro also sends JSON, which would be read as a message of protobuf's that is broken.
fn check_content_type(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get(header::CONTENT_TYPE) {
        Some(value) if !CONTENT_TYPES.contains(&value.as_bytes()) => Err(Status::unimplemented(format!(
            "content-type {:?}: this server takes `application/grpc` and `application/grpc+proto`",
            String::from_utf8_lossy(value.as_bytes())
        ))),
        _ => Ok(()),
    }
}

/// Of the two timeouts that a caller gives, the shorter one holds.
///
/// One that Go Micro's servers do not read, or zero, says nothing.
fn take_timeout(headers: &mut HeaderMap) {
    let Some(timeout) = headers.remove(TIMEOUT).as_ref().and_then(nanoseconds) else {
        return;
    };
    let is_shorter = match headers.get(GRPC_TIMEOUT) {
        None => true,
        // What cannot be read is refused further in.
        Some(value) => grpc_timeout::parse(value).is_some_and(|other| timeout < other),
    };
    if is_shorter {
        headers.insert(GRPC_TIMEOUT, grpc_timeout::format(timeout));
    }
}

fn nanoseconds(value: &HeaderValue) -> Option<Duration> {
    let digits = value.to_str().ok()?;
    // `parse` alone would take a plus sign.
    let is_number = digits.bytes().all(|digit| digit.is_ascii_digit());
    let nanoseconds = digits.parse().ok().filter(|_| is_number)?;
    (nanoseconds > 0).then(|| Duration::from_nanos(nanoseconds))
}

pin_project! {
    /// The answer, with an error as Go Micro's callers read it.
    #[project = Projected]
    pub(crate) enum GoMicroFuture<F> {
        Refused { status: Option<Status>, name: Arc<str> },
        // With a name: for a caller of Go Micro's.
        Passed { #[pin] inner: F, name: Option<Arc<str>> },
    }
}

impl<F, B> Future for GoMicroFuture<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<GoMicroBody<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Refused { status, name } => {
                let status = status.take().expect("not polled after it is ready");
                let mut response = status.into_http().map(|()| GoMicroBody {
                    inner: None,
                    name: None,
                });
                go_micro_error::write(response.headers_mut(), name);
                Poll::Ready(Ok(response))
            }
            Projected::Passed { inner, name } => {
                let Ok(mut response) = ready!(inner.poll(cx));
                if let Some(name) = name {
                    go_micro_error::write(response.headers_mut(), name);
                }
                Poll::Ready(Ok(response.map(|body| GoMicroBody {
                    inner: Some(body),
                    name: name.take(),
                })))
            }
        }
    }
}

pin_project! {
    /// A body whose trailers tell an error as Go Micro's callers read it.
    pub(crate) struct GoMicroBody<B> {
        #[pin]
        inner: Option<B>,
        name: Option<Arc<str>>,
    }
}

impl<B: Body> Body for GoMicroBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let mut polled = inner.poll_frame(cx);
        if let (Some(name), Poll::Ready(Some(Ok(frame)))) = (this.name, &mut polled)
            && let Some(trailers) = frame.trailers_mut()
        {
            go_micro_error::write(trailers, name);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts(ours: Option<&'static str>, theirs: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        if let Some(ours) = ours {
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static(ours));
        }
        headers.insert(TIMEOUT, HeaderValue::from_bytes(theirs.as_bytes()).unwrap());
        take_timeout(&mut headers);
        assert!(!headers.contains_key(TIMEOUT));
        headers.get(GRPC_TIMEOUT).and_then(grpc_timeout::parse)
    }

    #[test]
    fn of_two_timeouts_the_shorter_one_holds() {
        let five = Some(Duration::from_secs(5));
        assert_eq!(timeouts(None, "5000000000"), five);
        assert_eq!(timeouts(Some("5S"), "9000000000"), five);
        assert_eq!(timeouts(Some("9S"), "5000000000"), five);
    }

    #[test]
    fn a_timeout_that_says_nothing_or_too_much_changes_nothing() {
        for theirs in [
            "",
            "0",
            "-1",
            "+1",
            "5s",
            "1e9",
            " 1",
            "99999999999999999999999",
            "\u{663}",
        ] {
            assert_eq!(
                timeouts(Some("5S"), theirs),
                Some(Duration::from_secs(5)),
                "{theirs:?}"
            );
            assert_eq!(timeouts(None, theirs), None, "{theirs:?}");
        }
        // The longest that 64 bits can say, rounded up to whole hours.
        let longest = timeouts(None, "18446744073709551615").unwrap();
        assert_eq!(longest, Duration::from_secs(5_124_096 * 60 * 60));
    }
}
