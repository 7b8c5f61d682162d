//! The body of a response: holds its place in the load until it ends, and names the node in what goes wrong.

use std::{
    fmt, mem,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status};

use super::{
    candidate::Candidate,
    connection::Connection,
    incoming::Incoming,
    observe::{Observed, Traced},
    outlier,
    peer::{NODE_HEADER, Peer},
    picker::Chosen,
    target::Shared,
    unsent,
};

/// A call's place: one stream of a connection, one call of an endpoint's load. Dropping gives both back.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) endpoint: Arc<Candidate>,
    /// Which connection of it.
    at: usize,
    shared: Arc<Shared>,
    /// When it was taken.
    pub(super) started: Instant,
    /// Until when the call is to be answered; `None` once its answer was handed to the caller.
    deadline: Option<Instant>,
    answered: bool,
    /// Whether it is known how the call ended.
    judged: bool,
    /// The attempt's span.
    pub(super) traced: Traced,
}

impl Place {
    /// Takes over the stream that was reserved.
    pub(super) fn new(chosen: &Chosen<'_>, shared: Arc<Shared>, started: Instant, deadline: Instant) -> Self {
        let endpoint = Arc::clone(chosen.node);
        endpoint.spot.load.started(started);
        Self {
            endpoint,
            at: chosen.at,
            shared,
            started,
            deadline: Some(deadline),
            answered: false,
            judged: false,
            traced: Traced::default(),
        }
    }

    /// The connection that the stream is on.
    pub(super) fn connection(&self) -> &Connection {
        &self.endpoint.connections[self.at]
    }

    /// Takes in that an answer has begun.
    pub(super) fn answered(&mut self) {
        let now = Instant::now();
        self.endpoint
            .spot
            .load
            .answered(now.saturating_duration_since(self.started), now);
        self.answered = true;
        self.connection().set_answered();
    }

    /// Takes in how the node says that the call ended, in these headers.
    pub(super) fn heard(&mut self, code: Code, headers: &HeaderMap) {
        self.traced.record_code(code);
        if outlier::is_failure(code) {
            self.failed(|| Status::from_header_map(headers).unwrap_or_else(|| Status::new(code, "")));
        } else if !self.judged {
            self.judged = true;
            self.endpoint.flags.streak.succeeded();
        }
    }

    /// Counts the call as one that the node failed: its connection broke, it was unavailable or had no answer in time.
    fn failed(&mut self, status: impl FnOnce() -> Status) {
        if mem::replace(&mut self.judged, true) {
            return;
        }
        let now = Instant::now();
        self.endpoint
            .spot
            .load
            .failed(now.saturating_duration_since(self.started), now);
        self.endpoint.flags.last_failure.set_status(&status(), now);
        if self.endpoint.flags.streak.failed(self.answered) {
            self.shared.attention.notify_one();
        }
    }

    /// Counts the call as one that failed with this status, which the node has not said itself.
    pub(super) fn broke(&mut self, status: &Status) {
        self.failed(|| status.clone());
        self.traced.record_code(status.code());
    }

    /// Sends nothing more through this connection.
    pub(super) fn close_connection(&self) {
        if self.connection().close() {
            self.shared.attention.notify_one();
        }
    }

    /// Drops the endpoint: its server is another service.
    pub(super) fn refused(&self) {
        self.endpoint.flags.refused.store(true, Ordering::Relaxed);
        self.close_connection();
        self.shared.attention.notify_one();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            self.broke(&Status::deadline_exceeded("no answer in time"));
        }
        // Nobody waits for it any more, unless it is known how it ended.
        self.traced.record_code(Code::Cancelled);
        if self.answered {
            self.endpoint.spot.load.ended();
        } else {
            let now = Instant::now();
            let waited = now.saturating_duration_since(self.started);
            self.endpoint.spot.load.abandoned(waited, now);
        }
        self.connection().release();
        self.shared.room.release();
    }
}

/// The body of a response.
pub(super) struct ResponseBody {
    /// A frame that was read ahead.
    first: Option<Frame<Bytes>>,
    incoming: Incoming,
    /// Given back when the body has ended, even if the caller keeps the body.
    place: Option<Place>,
    peer: Peer,
    /// Until when a unary answer must be complete.
    deadline: Option<Deadline>,
    observed: Observed,
}

/// A deadline whose timer is made only if there is something to wait for.
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(super) fn new(at: Instant, timeout: Duration) -> Self {
        Self {
            at,
            timeout,
            sleep: None,
        }
    }

    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        self.sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)))
            .as_mut()
            .poll(cx)
    }
}

impl ResponseBody {
    pub(super) fn new(
        first: Option<Frame<Bytes>>,
        incoming: Incoming,
        mut place: Place,
        deadline: Option<Deadline>,
        observed: Observed,
    ) -> Self {
        place.deadline = None;
        let peer = place.endpoint.peer.clone();
        Self {
            first,
            incoming,
            place: Some(place),
            peer,
            deadline,
            observed,
        }
    }

    fn ended(
        &mut self,
        result: Option<Result<Frame<Bytes>, Status>>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(mut place) = self.place.take() {
            place.traced.record_code(Code::Unknown);
        }
        match &result {
            Some(Err(status)) => self.observed.failed(status),
            _ => self.observed.ended(),
        }
        Poll::Ready(result)
    }
}

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = match this.first.take() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => http_body::Body::poll_frame(Pin::new(&mut this.incoming), cx),
        };
        match polled {
            Poll::Ready(Some(Ok(mut frame))) => {
                let Some(trailers) = frame.trailers_mut() else {
                    return Poll::Ready(Some(Ok(frame)));
                };
                let code = code_of(trailers);
                if let Some(code) = code {
                    this.place
                        .iter_mut()
                        .for_each(|place| place.heard(code, trailers));
                    this.observed.see(code);
                }
                if code.is_some_and(|code| code != Code::Ok)
                    && let Some(node) = this.peer.header()
                {
                    trailers.insert(NODE_HEADER, node);
                }
                this.ended(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let status = unsent::status(&error, &this.peer);
                this.place.iter_mut().for_each(|place| place.broke(&status));
                this.ended(Some(Err(status)))
            }
            Poll::Ready(None) => this.ended(None),
            Poll::Pending => {
                let Some(deadline) = &mut this.deadline else {
                    return Poll::Pending;
                };
                if deadline.poll_passed(cx).is_pending() {
                    return Poll::Pending;
                }
                let status = deadline_exceeded(deadline.timeout, Some(&this.peer));
                this.place.iter_mut().for_each(|place| place.broke(&status));
                this.ended(Some(Err(status)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && http_body::Body::is_end_stream(&self.incoming)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.first {
            None => http_body::Body::size_hint(&self.incoming),
            Some(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// How a call ended, if headers or trailers say so.
pub(super) fn code_of(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get(Status::GRPC_STATUS)?;
    Some(Code::from_bytes(status.as_bytes()))
}

/// The status of a call whose deadline has passed.
pub(super) fn deadline_exceeded(timeout: Duration, peer: Option<&Peer>) -> Status {
    match peer {
        Some(peer) => Status::deadline_exceeded(format!("node {peer} did not answer within {timeout:?}")),
        None => Status::deadline_exceeded(format!("the deadline passed after {timeout:?}")),
    }
}
