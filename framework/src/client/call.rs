//! One call: waits for a node, sends, and sends again elsewhere what certainly never ran.

use std::sync::{Arc, atomic::Ordering};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri,
    uri::{PathAndQuery, Scheme},
};
use hyper::body::Incoming;
use tokio::time::{self, Instant};
use tonic::{Status, body::Body};

use super::{
    body::{RequestBody, Source},
    methods::Methods,
    options::CallOptions,
    peer::NODE_HEADER,
    picker::{Picker, Ready},
    response::{Deadline, Place, ResponseBody, deadline_exceeded, is_failure},
    target::Target,
    times::Times,
    unsent::{self, chain},
};
use crate::{
    context::CallContext,
    grpc_timeout::{self, GRPC_TIMEOUT},
};

/// The header that names the service a call is for, so that another one behind a stale address can refuse it.
const SERVICE_HEADER: HeaderName = HeaderName::from_static("micro-service");
/// What callers say of themselves, in the form the gRPC protocol recommends.
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("grpc-rust-micro/", env!("CARGO_PKG_VERSION")));

/// A call on its way.
pub(super) struct Call {
    target: Arc<Target>,
    path: PathAndQuery,
    headers: HeaderMap,
    node: Option<Arc<str>>,
    times: Times,
    /// Connections that certainly did not run the call.
    tried: Vec<u64>,
    /// Why the last of them did not.
    refusal: Option<String>,
    /// Where the present attempt was sent.
    sent_to: Option<Arc<Ready>>,
}

/// What became of one attempt.
enum Attempt {
    Answered(Response<Incoming>, Place),
    /// It certainly did not run; the body is here if it came back.
    Unsent(Option<RequestBody>),
    Failed(Status),
}

/// Sends `request` to a node of `target`.
pub(super) async fn run(
    target: Arc<Target>,
    request: Request<Body>,
    options: CallOptions,
    context: CallContext,
    methods: Option<Arc<Methods>>,
) -> Result<Response<Body>, Status> {
    target.start();
    let (parts, body) = request.into_parts();
    let Some(path) = parts
        .uri
        .path_and_query()
        .cloned()
        .filter(|_| parts.method == Method::POST)
    else {
        return Err(Status::internal(format!(
            "`{} {}` is no gRPC request",
            parts.method, parts.uri
        )));
    };
    let mut headers = parts.headers;
    let unary = {
        let known = methods.as_deref().and_then(|methods| methods.get(path.path()));
        known
            .or_else(|| target.shared.picker().methods.get(path.path()))
            .is_some_and(|kind| kind.unary)
    };
    let times = Times::new(
        &mut headers,
        &options,
        &context,
        unary,
        target.settings.request_timeout,
    );
    if times.headers <= Instant::now() {
        return Err(Status::deadline_exceeded(format!(
            "the deadline passed before `{}` was called",
            target.service
        )));
    }
    prepare(&mut headers, &target, &context);
    let source = Source::new(body).await?;
    let node = options.node;
    let mut call = Call {
        target,
        path,
        headers,
        node,
        times,
        tried: Vec::new(),
        refusal: None,
        sent_to: None,
    };
    match time::timeout_at(times.headers, call.run(&source)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(call.out_of_time()),
    }
}

impl Call {
    async fn run(&mut self, source: &Source) -> Result<Response<Body>, Status> {
        let mut returned = None;
        loop {
            let place = self.place().await?;
            let Some(body) = returned.take().or_else(|| source.attempt()) else {
                return Err(self.unavailable("too much of the request was sent to send it again"));
            };
            let connection = place.connection.id;
            match self.attempt(place, body).await {
                Attempt::Answered(response, place) => {
                    source.answered();
                    return Ok(self.answer(response, place));
                }
                Attempt::Unsent(body) => returned = body,
                Attempt::Failed(status) => return Err(status),
            }
            self.sent_to = None;
            self.tried.push(connection);
        }
    }

    /// Waits for a place on a connection that was not tried.
    async fn place(&self) -> Result<Place, Status> {
        if let Some(place) = self.try_place(&self.target.shared.picker()) {
            return Ok(place);
        }
        let shared = &self.target.shared;
        let mut published = shared.subscribe();
        let _waiting = Waiting::new(self);
        loop {
            published.borrow_and_update();
            let released = shared.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            {
                let picker = shared.picker();
                if let Some(place) = self.try_place(&picker) {
                    return Ok(place);
                }
                self.check_hope(&picker)?;
                self.ask_for_more(&picker);
            }
            tokio::select! {
                changed = published.changed() => {
                    changed.map_err(|_| self.unavailable("the client has stopped"))?;
                }
                () = released => {}
            }
        }
    }

    fn try_place(&self, picker: &Picker) -> Option<Place> {
        let candidates = self.candidates(picker);
        let (ready, connection) = self
            .target
            .chooser
            .choose(candidates, &self.tried, Instant::now())?;
        Some(Place::new(ready, connection, Arc::clone(&self.target.shared)))
    }

    /// The endpoints that this call may go to.
    fn candidates<'a>(&self, picker: &'a Picker) -> &'a [Arc<Ready>] {
        let Some(node) = &self.node else {
            return &picker.ready;
        };
        match picker
            .ready
            .binary_search_by(|ready| ready.peer.node_id().cmp(node))
        {
            Ok(at) => &picker.ready[at..=at],
            Err(_) => &[],
        }
    }

    /// Fails at once when waiting is useless: nobody is there, or everybody has refused.
    fn check_hope(&self, picker: &Picker) -> Result<(), Status> {
        let known = &picker.known;
        let candidates = self.candidates(picker);
        if candidates.is_empty() {
            let Some(snapshot) = &known.snapshot else {
                return Ok(());
            };
            if snapshot.is_empty() && !known.pending {
                return Err(self.unavailable("the registry knows no node"));
            }
            if let Some(node) = &self.node
                && snapshot.get(node).is_none()
            {
                return Err(self.unavailable(&format!("the registry knows no node `{node}`")));
            }
            return Ok(());
        }
        // A connection that is closing is replaced soon, and its endpoint can be tried again.
        let mut connections = candidates.iter().flat_map(|ready| &ready.connections);
        let all_refused =
            connections.all(|connection| self.tried.contains(&connection.id) && !connection.is_closing());
        if all_refused && (self.node.is_some() || !known.pending) {
            return Err(self.unavailable("every node has refused it"));
        }
        Ok(())
    }

    /// Asks the control task for what this call lacks.
    fn ask_for_more(&self, picker: &Picker) {
        let shared = &self.target.shared;
        let candidates = self.candidates(picker);
        if let Some(node) = self.node.as_deref().filter(|_| candidates.is_empty()) {
            shared.ask(node);
        }
        for ready in candidates {
            if !ready.flags.full.swap(true, Ordering::Relaxed) {
                shared.attention.notify_one();
            }
        }
    }

    /// Sends the call once.
    async fn attempt(&mut self, place: Place, body: RequestBody) -> Attempt {
        let request = match self.request(&place.endpoint, body) {
            Ok(request) => request,
            Err(status) => return Attempt::Failed(status),
        };
        self.sent_to = Some(Arc::clone(&place.endpoint));
        let started = Instant::now();
        let peer = &place.endpoint.peer;
        match place.connection.sender().try_send_request(request).await {
            Ok(response) if unsent::is_wrong_service(response.headers()) => {
                self.refusal = Some(format!("{peer} is another service"));
                place.refused();
                Attempt::Unsent(None)
            }
            Ok(response) => {
                let now = Instant::now();
                place.endpoint.load.answered(now - started, now);
                place.connection.set_answered();
                Attempt::Answered(response, place)
            }
            Err(mut error) => {
                let body = error.take_message().map(Request::into_body);
                let error = error.into_error();
                if body.is_none() && !unsent::is_certainly_unsent(&error) {
                    return Attempt::Failed(unsent::status(&error, peer));
                }
                self.refusal = Some(format!("{peer}: {}", chain(&error)));
                if unsent::is_refused_stream(&error) {
                    // The node has no room, so its other connections are not asked either.
                    self.tried
                        .extend(place.endpoint.connections.iter().map(|connection| connection.id));
                } else {
                    place.close_connection();
                }
                Attempt::Unsent(body)
            }
        }
    }

    fn request(&self, endpoint: &Ready, body: RequestBody) -> Result<Request<RequestBody>, Status> {
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(endpoint.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        let uri = Uri::from_parts(parts).map_err(|error| {
            Status::internal(format!("call `{}` of {}: {error}", self.path, endpoint.peer))
        })?;
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        *request.version_mut() = http::Version::HTTP_2;
        *request.headers_mut() = self.headers.clone();
        if let Some(end) = self.times.end {
            let left = end.saturating_duration_since(Instant::now());
            request
                .headers_mut()
                .insert(GRPC_TIMEOUT, grpc_timeout::format(left));
        }
        Ok(request)
    }

    fn answer(&self, response: Response<Incoming>, place: Place) -> Response<Body> {
        let peer = place.endpoint.peer.clone();
        let (mut parts, incoming) = response.into_parts();
        if is_failure(&parts.headers)
            && let Some(node) = peer.header()
        {
            parts.headers.insert(NODE_HEADER, node);
        }
        parts.extensions.insert(peer);
        let deadline = self.times.end.map(|end| Deadline::new(end, self.times.timeout));
        Response::from_parts(parts, Body::new(ResponseBody::new(incoming, place, deadline)))
    }

    /// The status of a call that was certainly not run.
    fn unavailable(&self, reason: &str) -> Status {
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

    /// The status of a call whose time is over.
    fn out_of_time(&self) -> Status {
        if let Some(endpoint) = &self.sent_to {
            return deadline_exceeded(self.times.timeout, Some(&endpoint.peer));
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
    headers.insert(SERVICE_HEADER, target.service_header.clone());
    headers.entry(http::header::USER_AGENT).or_insert(USER_AGENT);
}

/// Counts a call among those that wait for a free stream.
struct Waiting<'a>(&'a Call);

impl<'a> Waiting<'a> {
    fn new(call: &'a Call) -> Self {
        call.target.shared.waiting.fetch_add(1, Ordering::SeqCst);
        Self(call)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.target.shared.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}
