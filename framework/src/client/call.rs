//! One call: waits for a node, sends, and sends again elsewhere what certainly never ran.

use std::{mem, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, uri::PathAndQuery};
use tokio::time::{self, Instant};
use tonic::{Code, Status, body::Body};

use super::{
    attempt::{Answer, Attempt},
    body::{RequestBody, Source},
    candidate::Candidate,
    headers::strip_connection,
    hedge::Raced,
    meter::Cause,
    methods::{Kind, Methods},
    observe::Observed,
    options::CallOptions,
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
    /// Connections that certainly did not run it, and are not to be tried again.
    pub(super) tried: Vec<u64>,
    /// Nodes that perhaps ran it, and are not to be tried again.
    pub(super) failed: Vec<Arc<Candidate>>,
    pub(super) options: CallOptions,
    /// What the channel knows of the methods, which comes before what the nodes say.
    methods: Option<Arc<Methods>>,
    /// Why the last connection did not run it.
    refusal: Option<String>,
    /// Where the present attempt was sent.
    sent_to: Option<Arc<Candidate>>,
    /// How the last attempt failed that perhaps ran.
    failure: Option<Status>,
    pub(super) observed: Observed,
}

/// Sends `request` to a node of `target`.
pub(super) async fn run(
    target: Arc<Target>,
    request: Request<Body>,
    options: CallOptions,
    context: CallContext,
    methods: Option<Arc<Methods>>,
    mut observed: Observed,
) -> Result<Response<Body>, Status> {
    target.start();
    let (parts, body) = request.into_parts();
    let Some(path) = parts
        .uri
        .path_and_query()
        .cloned()
        .filter(|_| parts.method == Method::POST)
    else {
        return Err(observed.refused(Status::internal(format!(
            "`{} {}` is no gRPC request",
            parts.method, parts.uri
        ))));
    };
    let mut headers = parts.headers;
    let kind = kind(&target, &options, methods.as_deref(), path.path());
    let times = Times::new(
        &mut headers,
        &options,
        &context,
        kind.unary,
        target.settings.request_timeout,
    );
    if times.headers <= times.made {
        return Err(observed.refused(Status::deadline_exceeded(format!(
            "the deadline passed before `{}` was called",
            target.service
        ))));
    }
    prepare(&mut headers, &target, &context);
    let source = Source::new(body)
        .await
        .inspect_err(|status| observed.failed(status))?;
    let mut call = Call {
        target,
        path,
        headers,
        kind,
        times,
        tried: Vec::new(),
        failed: Vec::new(),
        options,
        methods,
        refusal: None,
        sent_to: None,
        failure: None,
        observed,
    };
    let result = match time::timeout_at(times.headers, call.run(&source)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(call.out_of_time()),
    };
    result.inspect_err(|status| call.observed.failed(status))
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
    async fn run(&mut self, source: &Source) -> Result<Response<Body>, Status> {
        let (mut returned, mut sent, mut cause) = (None, 0, Cause::Call);
        // The clock was read for it just now.
        let mut place = self.place(self.times.made).await?;
        if !self.kind.unary {
            // To the first call of all the nodes have said only now what their methods are.
            let methods = self.methods.as_deref();
            self.kind = kind(&self.target, &self.options, methods, self.path.path());
        }
        self.target.budget.earn();
        let retries = self.options.retries.unwrap_or(self.target.settings.retries);
        let mut retry = Retry::new(if self.kind.idempotent { retries } else { 0 });
        loop {
            let Some(body) = returned.take().or_else(|| source.attempt()) else {
                return Err(self.unavailable("too much of the request was sent to send it again"));
            };
            self.target.meter.attempt(cause);
            let raced = self.send(place, body, sent, source, &mut retry).await;
            // As gRFC A6 counts: what certainly did not run was not an attempt.
            sent += raced.sent - u32::from(matches!(raced.attempt, Attempt::Unsent { .. }));
            self.sent_to = None;
            self.failed.extend(raced.other);
            cause = Cause::Failed;
            match raced.attempt {
                Attempt::Answered(answer) => {
                    let Some(wait) = answer.failure().and_then(|failure| {
                        self.next_wait(&mut retry, &failure, &answer.place.endpoint, source)
                    }) else {
                        source.answered();
                        return Ok(self.answer(answer));
                    };
                    self.failure = answer.status();
                    drop(answer);
                    time::sleep(wait).await;
                }
                Attempt::Unsent {
                    body,
                    reason,
                    connections,
                } => {
                    (returned, cause) = (body, Cause::Unsent);
                    self.refusal = Some(reason);
                    self.tried.extend(connections);
                }
                Attempt::Failed { status, endpoint } => {
                    let failure = Failure::of(&status);
                    let Some(wait) = self.next_wait(&mut retry, &failure, &endpoint, source) else {
                        self.observed.contacted(&endpoint.peer);
                        return Err(status);
                    };
                    self.failure = Some(status);
                    time::sleep(wait).await;
                }
            }
            place = match self.place(Instant::now()).await {
                Ok(place) => place,
                Err(nowhere) => return Err(self.last_failure().unwrap_or(nowhere)),
            };
        }
    }

    /// Sends the call to a node, and to a second one if it may and the first is late.
    async fn send(
        &mut self,
        place: Place,
        body: RequestBody,
        previous: u32,
        source: &Source,
        retry: &mut Retry,
    ) -> Raced {
        self.sent_to = Some(Arc::clone(&place.endpoint));
        let delay = self.options.hedge_delay.or(self.target.settings.hedge_delay);
        match delay.filter(|_| self.kind.unary && self.kind.idempotent) {
            // In a box: hardly any call needs it, and every call would carry its size.
            Some(delay) => Box::pin(self.race(place, body, previous, delay, source, retry)).await,
            None => Raced::alone(self.attempt(place, body, previous).await),
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
        self.failed.push(Arc::clone(endpoint));
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
        let deadline = self.times.end.map(|end| Deadline::new(end, self.times.timeout));
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
        if let Some(refusal) = &self.refusal {
            message.push_str(&format!(" (the last: {refusal})"));
        }
        Status::unavailable(message)
    }

    /// How the last attempt failed that perhaps ran.
    fn last_failure(&mut self) -> Option<Status> {
        let failure = self.failure.take()?;
        if let Some(endpoint) = self.failed.last() {
            self.observed.contacted(&endpoint.peer);
        }
        Some(failure)
    }

    /// The status of a call whose time is over.
    fn out_of_time(&mut self) -> Status {
        if let Some(endpoint) = &self.sent_to {
            self.observed.contacted(&endpoint.peer);
            return deadline_exceeded(self.times.timeout, Some(&endpoint.peer));
        }
        if let Some(failure) = self.last_failure() {
            return failure;
        }
        let picker = self.target.shared.picker();
        let known = &picker.known;
        let timeout = self.times.timeout;
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
