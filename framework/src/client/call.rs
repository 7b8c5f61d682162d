//! One call: waits for a node, sends, and sends again elsewhere what certainly never ran.

use std::{mem, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, request, uri::PathAndQuery};
use tokio::time::{self, Instant};
use tonic::{Code, Status, body::Body};

use super::{
    attempt::{Answer, Attempt},
    body::Source,
    candidate::Candidate,
    headers::strip_connection,
    hedge::Raced,
    meter::Cause,
    methods::{Kind, Methods},
    observe::Observed,
    options::CallOptions,
    past::Past,
    peer::NODE_HEADER,
    response::{Deadline, Place, ResponseBody, deadline_exceeded},
    retry::{Failure, Retry},
    target::Target,
    times::Times,
    unsent::chain,
};
use crate::context::CallContext;

/// The header that names the service a call is for, so that another one behind a stale address can refuse it.
const SERVICE_HEADER: HeaderName = HeaderName::from_static("micro-service");
/// What callers say of themselves, in the form the gRPC protocol recommends.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rust-micro/", env!("CARGO_PKG_VERSION")));

/// A call on its way.
pub(super) struct Call {
    pub(super) target: Arc<Target>,
    pub(super) path: PathAndQuery,
    pub(super) headers: HeaderMap,
    pub(super) kind: Kind,
    pub(super) times: Times,
    /// When it was polled first, which may be long after it was made.
    pub(super) begun: Instant,
    pub(super) past: Past,
    pub(super) options: CallOptions,
    /// What the channel knows of the methods, which comes before what the nodes say.
    methods: Option<Arc<Methods>>,
    /// Where the present attempt was sent.
    sent_to: Option<Arc<Candidate>>,
    pub(super) observed: Observed,
}

/// What follows an attempt.
enum Next {
    /// The call has ended.
    Done(Result<Response<Body>, Status>),
    /// It is sent again after this long.
    After(Duration),
    /// It did not run, and is sent to another node at once.
    Elsewhere,
}

/// What is known of the method: what the call says itself, else the channel, else the nodes.
fn kind(target: &Target, options: &CallOptions, methods: Option<&Methods>, path: &str) -> Kind {
    let mut kind = methods
        .and_then(|methods| methods.get(path))
        .or_else(|| target.shared.picker().methods.get(path))
        .unwrap_or_default();
    if let Some(idempotent) = options.idempotent {
        kind.idempotent = idempotent;
    }
    kind
}

impl Call {
    /// What `head`, the channel and the call that is being handled say of it together; the status, if it is refused at once.
    pub(super) fn new(
        target: Arc<Target>,
        head: request::Parts,
        options: CallOptions,
        context: &CallContext,
        methods: Option<Arc<Methods>>,
    ) -> Result<Self, Status> {
        let mut observed = Observed::begin(&target, head.uri.path(), context);
        let path = head.uri.path_and_query().cloned();
        let Some(path) = path.filter(|_| head.method == Method::POST) else {
            return Err(observed.refused(Status::internal(format!(
                "`{} {}` is no gRPC request",
                head.method, head.uri
            ))));
        };
        let mut headers = head.headers;
        let kind = kind(&target, &options, methods.as_deref(), path.path());
        let times = Times::new(
            &mut headers,
            &options,
            context,
            kind.unary,
            target.settings.request_timeout,
        );
        prepare(&mut headers, &target, context);
        Ok(Self {
            target,
            path,
            headers,
            kind,
            begun: times.made,
            times,
            past: Past::default(),
            options,
            methods,
            sent_to: None,
            observed,
        })
    }

    /// Sends it with this body.
    pub(super) async fn run(&mut self, body: Body) -> Result<Response<Body>, Status> {
        // Not before this is polled: only then is there a runtime for certain.
        self.target.start();
        self.begun = Instant::now();
        if self.times.headers <= self.begun {
            return Err(self.observed.refused(Status::deadline_exceeded(format!(
                "the deadline passed before `{}` was called",
                self.target.service
            ))));
        }
        self.times.tell(&mut self.headers, self.begun);
        let source = Source::new(body)
            .await
            .inspect_err(|status| self.observed.failed(status))?;
        let result = match time::timeout_at(self.times.headers, self.send(&source)).await {
            Ok(result) => result,
            Err(_elapsed) => Err(self.out_of_time()),
        };
        result.inspect_err(|status| self.observed.failed(status))
    }

    /// Sends it to a node, and elsewhere for as long as it may be.
    async fn send(&mut self, source: &Source) -> Result<Response<Body>, Status> {
        let (mut sent, mut cause) = (0, Cause::Call);
        let mut place = self.next_place(self.begun).await?;
        if !self.kind.unary {
            // To the first call of all the nodes have said only now what their methods are.
            let methods = self.methods.as_deref();
            self.kind = kind(&self.target, &self.options, methods, self.path.path());
        }
        self.target.budget.earn();
        let retries = self.options.retries.unwrap_or(self.target.settings.retries);
        let mut retry = Retry::new(if self.kind.idempotent { retries } else { 0 });
        loop {
            let body = self.past.take_returned().or_else(|| source.attempt());
            let body =
                body.ok_or_else(|| self.unavailable("too much of the request was sent to send it again"))?;
            self.target.meter.attempt(cause);
            let raced = match self.hedge_delay() {
                // In a box: hardly any call needs it, and every call would carry its size.
                Some(delay) => Box::pin(self.race(place, body, sent, delay, source, &mut retry)).await,
                None => Raced::alone(self.attempt(place, body, sent).await),
            };
            // As gRFC A6 counts: what certainly did not run was not an attempt.
            sent += raced.sent - u32::from(matches!(raced.attempt, Attempt::Unsent { .. }));
            cause = match self.judge(raced, &mut retry, source) {
                Next::Done(result) => return result,
                Next::After(wait) => {
                    time::sleep(wait).await;
                    Cause::Failed
                }
                Next::Elsewhere => Cause::Unsent,
            };
            place = match self.next_place(Instant::now()).await {
                Ok(place) => place,
                Err(nowhere) => return Err(self.last_failure().unwrap_or(nowhere)),
            };
        }
    }

    /// Waits for a place, and notes where it is.
    async fn next_place(&mut self, now: Instant) -> Result<Place, Status> {
        let place = self.place(now).await?;
        self.sent_to = Some(Arc::clone(&place.endpoint));
        Ok(place)
    }

    /// After how long it is sent to a second node as well, if it may be.
    fn hedge_delay(&self) -> Option<Duration> {
        let delay = self.options.hedge_delay.or(self.target.settings.hedge_delay);
        delay.filter(|_| self.kind.unary && self.kind.idempotent)
    }

    /// What follows from what became of an attempt.
    fn judge(&mut self, raced: Raced, retry: &mut Retry, source: &Source) -> Next {
        self.sent_to = None;
        if let Some(other) = raced.other {
            self.past.record().failed.push(other);
        }
        match raced.attempt {
            Attempt::Answered(answer) => {
                let wait = answer
                    .failure()
                    .and_then(|failure| self.next_wait(retry, &failure, &answer.place.endpoint, source));
                let Some(wait) = wait else {
                    source.answered();
                    return Next::Done(Ok(self.answer(answer)));
                };
                self.past.record().failure = answer.status();
                Next::After(wait)
            }
            Attempt::Unsent {
                body,
                reason,
                connections,
            } => {
                let record = self.past.record();
                record.refusal = Some(reason);
                record.tried.extend(connections);
                record.returned = body;
                Next::Elsewhere
            }
            Attempt::Failed { status, endpoint } => {
                let failure = Failure::of(&status);
                let Some(wait) = self.next_wait(retry, &failure, &endpoint, source) else {
                    self.observed.contacted(&endpoint.peer);
                    return Next::Done(Err(status));
                };
                self.past.record().failure = Some(status);
                Next::After(wait)
            }
        }
    }

    /// How long to wait before a call that perhaps ran on `endpoint` is sent to another one; `None` when it is not.
    fn next_wait(
        &mut self,
        retry: &mut Retry,
        failure: &Failure,
        endpoint: &Arc<Candidate>,
        source: &Source,
    ) -> Option<Duration> {
        self.past.record().failed.push(Arc::clone(endpoint));
        if !source.is_kept() || !self.has_untried(&self.target.shared.picker()) {
            return None;
        }
        retry.next_wait(failure, self.times.headers, &self.target.budget)
    }

    fn answer(&mut self, answer: Answer) -> Response<Body> {
        let Answer {
            mut head,
            code,
            first,
            incoming,
            place,
        } = answer;
        let peer = place.endpoint.peer.clone();
        if code.is_some_and(|code| code != Code::Ok)
            && let Some(node) = peer.header()
        {
            head.headers.insert(NODE_HEADER, node);
        }
        let mut observed = mem::take(&mut self.observed);
        observed.contacted(&peer);
        if let Some(code) = code {
            observed.see(code);
        }
        head.extensions.insert(peer);
        let deadline = self.times.end.map(|end| Deadline::new(end, self.times.timeout()));
        Response::from_parts(
            head,
            Body::new(ResponseBody::new(first, incoming, place, deadline, observed)),
        )
    }

    /// The status of a call that was certainly not run.
    pub(super) fn unavailable(&self, reason: &str) -> Status {
        let target = &self.target;
        let mut message = format!(
            "no node of `{}` in {} took the call: {reason}",
            target.service,
            target.registry.name()
        );
        if let Some(refusal) = self.past.refusal() {
            message.push_str(&format!(" (the last: {refusal})"));
        }
        Status::unavailable(message)
    }

    /// How the last attempt failed that perhaps ran.
    fn last_failure(&mut self) -> Option<Status> {
        let failure = self.past.take_failure()?;
        if let Some(endpoint) = self.past.failed().last() {
            self.observed.contacted(&endpoint.peer);
        }
        Some(failure)
    }

    /// The status of a call whose time is over.
    fn out_of_time(&mut self) -> Status {
        if let Some(endpoint) = &self.sent_to {
            self.observed.contacted(&endpoint.peer);
            return deadline_exceeded(self.times.timeout(), Some(&endpoint.peer));
        }
        if let Some(failure) = self.last_failure() {
            return failure;
        }
        let picker = self.target.shared.picker();
        let known = &picker.known;
        let timeout = self.times.timeout();
        let reason = match (&known.snapshot, &known.registry_failure, &known.connect_failure) {
            (None, Some(failure), _) => format!(
                "the registry did not answer within {timeout:?}: {}",
                chain(&**failure)
            ),
            (None, None, _) => format!("the registry did not answer within {timeout:?}"),
            (Some(_), _, Some(failure)) if picker.ready.is_empty() => {
                format!("none was reached within {timeout:?}, the last failure was {failure}")
            }
            _ => format!("none was free within {timeout:?}"),
        };
        self.unavailable(&reason)
    }
}

/// What every attempt carries.
fn prepare(headers: &mut HeaderMap, target: &Target, context: &CallContext) {
    if let Some(travelling) = context.metadata() {
        for name in travelling.keys() {
            if !headers.contains_key(name) {
                for value in travelling.get_all(name) {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
    }
    strip_connection(headers);
    headers.insert(SERVICE_HEADER, target.service_header.clone());
    headers.entry(http::header::USER_AGENT).or_insert(USER_AGENT);
}
