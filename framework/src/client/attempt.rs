//! One attempt: a call sent once, on one connection, and what became of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    body::RequestBody,
    call::Call,
    candidate::Candidate,
    connection::Unanswered,
    incoming::Incoming,
    response::{Place, code_of},
    retry::{Failure, PREVIOUS_ATTEMPTS},
    unsent::{self, chain},
};

/// What became of an attempt.
#[expect(
    clippy::large_enum_variant,
    reason = "the largest is the usual one, and a box would cost every call an allocation"
)]
pub(super) enum Attempt {
    /// The server has answered, perhaps with a failure.
    Answered(Answer),
    /// It certainly did not run. The body is here if it came back.
    Unsent {
        body: Option<RequestBody>,
        reason: String,
        /// The connections that need not be tried again.
        connections: Vec<u64>,
    },
    /// It perhaps ran.
    Failed {
        status: Status,
        endpoint: Arc<Candidate>,
    },
}

/// The beginning of an answer.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    /// How the call ended, if the headers say so already. As a rule trailers do.
    pub(super) code: Option<Code>,
    /// The first frame of the body, where it was waited for.
    pub(super) first: Option<Frame<Bytes>>,
    pub(super) incoming: Incoming,
    pub(super) place: Place,
}

impl Answer {
    /// What the server says went wrong, as far as it has said so: in its headers, or in trailers that follow at once.
    pub(super) fn failure(&self) -> Option<Failure> {
        Failure::answered(self.ending()?)
    }

    /// The status of such a failure.
    pub(super) fn status(&self) -> Option<Status> {
        Status::from_header_map(self.ending()?)
    }

    fn ending(&self) -> Option<&HeaderMap> {
        if self.code.is_some() {
            return Some(&self.head.headers);
        }
        self.first.as_ref().and_then(Frame::trailers_ref)
    }
}

impl Call {
    /// Sends the call once; `previous` is how often it was sent before.
    pub(super) fn attempt(
        &self,
        mut place: Place,
        body: RequestBody,
        previous: u32,
    ) -> impl Future<Output = Attempt> {
        place.traced = self.observed.attempt(self, &place.endpoint, previous);
        // A block, as a function would keep twice what it is given.
        async move {
            let sending = match self.request(&place, previous) {
                Ok(request) => place.connection().send(request, body),
                Err(status) => {
                    let endpoint = Arc::clone(&place.endpoint);
                    return Attempt::Failed { status, endpoint };
                }
            };
            let (head, mut incoming) = match sending.await {
                Ok(response) => response.into_parts(),
                Err(unanswered) => return failed(unanswered, &mut place),
            };
            // Looked up once: each look hashes a name, on the path of every call.
            let code = code_of(&head.headers);
            if let Some(code) = code
                && unsent::is_wrong_service(&head.headers)
            {
                place.traced.record_code(code);
                place.refused();
                return Attempt::Unsent {
                    body: None,
                    reason: format!("{} is another service", place.endpoint.peer),
                    connections: vec![place.connection().id],
                };
            }
            place.answered();
            if let Some(code) = code {
                place.heard(code, &head.headers);
            }
            // A node that dies between the headers and the message of an answer takes no call with it that may run twice.
            let mut first = None;
            if self.kind.unary && self.kind.idempotent && code.is_none() {
                first = match incoming.frame().await.transpose() {
                    Ok(frame) => frame,
                    Err(error) => return broke(&error, &mut place),
                };
                let trailers = first.as_ref().and_then(Frame::trailers_ref);
                if let Some((trailers, code)) =
                    trailers.and_then(|trailers| Some((trailers, code_of(trailers)?)))
                {
                    place.heard(code, trailers);
                }
            }
            Attempt::Answered(Answer {
                head,
                code,
                first,
                incoming,
                place,
            })
        }
    }

    fn request(&self, place: &Place, previous: u32) -> Result<Request<()>, Status> {
        let endpoint = &place.endpoint;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(place.connection().scheme.clone());
        parts.authority = Some(endpoint.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        let uri = http::Uri::from_parts(parts).map_err(|error| {
            Status::internal(format!("call `{}` of {}: {error}", self.path, endpoint.peer))
        })?;
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        self.stamp(request.headers_mut(), place.started, previous);
        self.observed.tell(request.headers_mut());
        Ok(request)
    }

    /// Sets what differs from attempt to attempt. The headers themselves say what time was left when the call began.
    fn stamp(&self, headers: &mut HeaderMap, now: Instant, previous: u32) {
        if now != self.begun {
            self.times.tell(headers, now);
        }
        if previous > 0 {
            headers.insert(PREVIOUS_ATTEMPTS, HeaderValue::from(previous));
        }
    }
}

/// What became of an attempt that broke, and perhaps ran.
fn broke(error: &h2::Error, place: &mut Place) -> Attempt {
    let endpoint = Arc::clone(&place.endpoint);
    let status = unsent::status(error, &endpoint.peer);
    place.broke(&status);
    Attempt::Failed { status, endpoint }
}

/// What became of an attempt that has no answer.
fn failed(unanswered: Unanswered, place: &mut Place) -> Attempt {
    let Unanswered {
        error,
        is_unsent,
        body,
    } = unanswered;
    if !is_unsent && !unsent::is_certainly_unsent(&error) {
        return broke(&error, place);
    }
    let endpoint = &place.endpoint;
    place.traced.record_code(Code::Unavailable);
    let connections = if unsent::is_refused_stream(&error) {
        // The node has no room, so its other connections are not asked either.
        endpoint.connection_ids().collect()
    } else {
        place.close_connection();
        vec![place.connection().id]
    };
    Attempt::Unsent {
        body,
        reason: format!("{}: {}", endpoint.peer, chain(&error)),
        connections,
    }
}
