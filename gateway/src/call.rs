//! One request, from its checks to its answer.

mod admission;
mod calling;
mod passing;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use micro::{Client, HttpRoute, ServiceContext};
use prost_reflect::{DynamicMessage, FieldDescriptor};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tonic::{Code, Status, body::Body};

use crate::{
    accept::Format,
    binding::BodyPlace,
    compression::Accepted,
    cors,
    dashboard::{self, Dashboard},
    exported::Exported,
    fault::Fault,
    fields,
    find::{Allow, Destination, Lookup, Lost},
    grpc_web,
    headers::{self, RequestId},
    openapi, query,
    rate::{By, Limiter},
    request,
    settings::Settings,
    site::Site,
    tokens::{Claims, Guard},
    told::Told,
    witness::Witness,
};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Calls {
    settings: Settings,
    site: Site,
    places: Arc<Semaphore>,
    told: Arc<Told>,
    dashboard: Option<Dashboard>,
    limiter: Option<Limiter>,
    guard: Option<Guard>,
    page: openapi::Page,
}

impl Calls {
    pub(crate) fn new(settings: Settings, client: &Client, within: Option<ServiceContext>) -> Self {
        let site = Site::new(&settings.export, client);
        let dashboard = settings
            .has_dashboard()
            .then(|| Dashboard::new(client.clone(), within, site.names()));
        Self {
            site,
            dashboard,
            places: Arc::new(Semaphore::new(settings.calls_max.min(Semaphore::MAX_PERMITS))),
            told: Arc::default(),
            page: openapi::Page::default(),
            guard: settings.tokens.as_ref().map(Guard::new),
            limiter: settings.rate_limit.as_ref().map(Limiter::new),
            settings,
        }
    }

    /// Answers the request with this head and body, whatever it is.
    pub(crate) async fn answer(&self, head: &mut Request<()>, body: Body) -> Response<Body> {
        let id = RequestId::of(head.headers().get(headers::REQUEST_ID));
        let is_of_dashboard = self.dashboard.is_some() && Dashboard::is_calling(head, &self.settings);
        let mut route = None;
        let answered = self.try_answer(head, body, &id, &mut route).await;
        let mut response = answered.unwrap_or_else(|fault| {
            if grpc_web::is(head.method(), head.headers()) {
                fault.into_grpc_web(grpc_web::content_type(head.headers()))
            } else {
                fault.into_response(&id)
            }
        });
        if is_of_dashboard {
            Dashboard::tell_node(&mut response);
        }
        route.and_then(|route: HttpRoute| response.extensions_mut().insert(route));
        let headers = response.headers_mut();
        headers.insert(headers::REQUEST_ID, id.header());
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            http::HeaderValue::from_static("nosniff"),
        );
        if head.method() == Method::HEAD {
            response = response.map(|_| Body::empty());
        }
        if self.settings.compression {
            return Box::pin(Accepted::by(head.headers()).compress(response)).await;
        }
        response
    }

    /// Notes in `answers` what answers, once that is known. What few requests come to is in boxes, and what is needed only before the
    /// call has a function of its own: all would carry its size.
    async fn try_answer(
        &self,
        head: &mut Request<()>,
        body: Body,
        id: &RequestId,
        answers: &mut Option<HttpRoute>,
    ) -> Result<Response<Body>, Fault> {
        let begun = Instant::now();
        if let Some(dashboard) = &self.dashboard
            && Dashboard::has(head.uri().path())
        {
            *answers = Some(HttpRoute::new(dashboard::PREFIX));
            return Box::pin(dashboard.answer(head, &self.site, &self.settings)).await;
        }
        let call = match self.admit(head, id, begun, answers).await? {
            Admitted::Call(call) => call,
            Admitted::Answer(response) => return Ok(response),
        };
        if call.is_grpc_web {
            return Box::pin(self.pass(call, head, body)).await;
        }
        // A body has as long as a unary call, so that a slow one does not hold a place for an hour.
        let bytes = timeout_at(call.body_deadline, self.bytes(&call, head, body)).await;
        let message = self.message(&call, head, &bytes.map_err(|_| body_too_late())??)?;
        if call.to.route.method.is_server_streaming() {
            return Box::pin(self.stream(call, head, message)).await;
        }
        self.unary(&call, head, message).await
    }

    /// Lets a request in that may be made now and leads to a method, unless it is answered without one.
    async fn admit<'a>(
        &'a self,
        head: &Request<()>,
        id: &'a RequestId,
        begun: Instant,
        answers: &mut Option<HttpRoute>,
    ) -> Result<Admitted<'a>, Fault> {
        headers::check_host(head, &self.settings)?;
        cors::check_page(head, self.settings.cors.as_ref())?;
        let headers = head.headers();
        headers::check_length(headers)?;
        self.take_turn(By::Address, head, None)?;
        let brought = match &self.guard {
            Some(guard) => Some(Box::pin(guard.claims(headers)).await),
            None => None,
        };
        if let (Some(guard), Some(Err(fault))) = (&self.guard, &brought)
            && guard.is_closed()
        {
            return Err(fault.clone());
        }
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Fault::overloaded())?;
        let body_deadline = begun + headers::timeout(headers, &self.settings, false)?;
        let (path, method) = (head.uri().path(), head.method());
        if self.settings.openapi && path == openapi::PATH {
            *answers = Some(HttpRoute::new(openapi::PATH));
            brought.transpose()?;
            let page = Box::pin(self.openapi(method, headers, body_deadline)).await?;
            return Ok(Admitted::Answer(page));
        }
        let is_grpc_web = grpc_web::is(method, headers);
        let found = if is_grpc_web {
            Box::pin(self.site.find_grpc(path, body_deadline)).await
        } else if let Some(known) = self.site.find_known(path, method) {
            Ok(Lookup::Destination(known))
        } else {
            Box::pin(self.site.find(path, method, body_deadline)).await
        };
        let to = match found.map_err(|lost| self.fault_of_lookup(lost, id))? {
            Lookup::Destination(destination) => destination,
            Lookup::Options(allow) => return Ok(Admitted::Answer(options(&allow))),
        };
        *answers = Some(to.http_route());
        let claims = match (&self.guard, brought) {
            (Some(guard), Some(brought)) => guard.admit(brought, &to)?,
            _ => None,
        };
        self.take_turn(By::Subject, head, claims.as_ref())?;
        if to.route.method.is_client_streaming() {
            let message = "the method takes a stream of messages, which has no form here";
            return Err(Fault::new(
                StatusCode::NOT_IMPLEMENTED,
                Code::Unimplemented,
                message,
            ));
        }
        let is_stream = to.route.method.is_server_streaming();
        let format = if is_grpc_web {
            Format::Json
        } else {
            Format::wanted(headers, is_stream)?
        };
        let deadline = if is_stream {
            begun + headers::timeout(headers, &self.settings, is_stream)?
        } else {
            body_deadline
        };
        Ok(Admitted::Call(Call {
            id,
            to,
            is_grpc_web,
            format,
            body_deadline,
            deadline,
            claims,
            place,
        }))
    }

    async fn openapi(
        &self,
        method: &Method,
        headers: &HeaderMap,
        deadline: Instant,
    ) -> Result<Response<Body>, Fault> {
        let allow = Allow::of(&[Method::GET, Method::HEAD, Method::OPTIONS]);
        if *method == Method::OPTIONS {
            return Ok(options(&allow));
        }
        if !allow.holds(method) {
            return Err(Fault::not_allowed(&allow));
        }
        let overview = self.site.overview(deadline).await;
        Ok(self.page.answer(&overview, &self.settings, headers))
    }

    /// The body, where the message is in it.
    async fn bytes(&self, call: &Call<'_>, head: &Request<()>, body: Body) -> Result<Bytes, Fault> {
        match &call.to.bound {
            Some((binding, _)) if binding.body == BodyPlace::Nowhere => return Ok(Bytes::new()),
            None if head.method() != Method::POST => return Ok(Bytes::new()),
            None if head.uri().query().is_some() => {
                return Err(Fault::invalid(
                    "a POST request has its message in its body, and no query",
                ));
            }
            _ => {}
        }
        request::bytes(head.headers(), body, &self.settings).await
    }

    /// The message that a request has in its body, its query or its path.
    fn message(&self, call: &Call<'_>, head: &Request<()>, bytes: &[u8]) -> Result<DynamicMessage, Fault> {
        let descriptor = call.to.route.method.input();
        let (query, depth_max) = (head.uri().query(), self.settings.json_depth_max);
        match &call.to.bound {
            Some((binding, values)) => {
                fields::message(&descriptor, &binding.body, values, query, bytes, depth_max)
            }
            None if head.method() == Method::POST => request::parse(&descriptor, bytes, depth_max),
            None => query::message(&descriptor, query.unwrap_or_default()),
        }
    }

    fn fault_of_lookup(&self, lost: Lost, id: &RequestId) -> Fault {
        let (service, status) = match lost {
            Lost::Fault(fault) => return fault,
            Lost::Service(service, status) => (service, status),
        };
        if self.told.again() {
            tracing::warn!(service, id = id.as_str(), %status, "an exported service is not known");
        }
        match status.code() {
            // It is no mistake of the caller's that a service has no reflection, say.
            Code::DeadlineExceeded => Fault::new(
                StatusCode::GATEWAY_TIMEOUT,
                Code::DeadlineExceeded,
                "the service did not describe itself in time",
            ),
            _ => Fault::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "the service is not available at present",
            ),
        }
    }

    fn fault_of_call(&self, call: &Call<'_>, status: &Status) -> Fault {
        self.note_failure(call.to.exported, &self.witness(call), status);
        Fault::of_call(status, call.to.route.method.parent_pool())
    }

    /// What follows from a call that came to nothing, in whatever form it was asked for.
    fn note_failure(&self, exported: &Exported, witness: &Witness, status: &Status) {
        if status.code() == Code::Unimplemented {
            exported.doubt();
        }
        witness.tell(status);
    }

    fn witness(&self, call: &Call<'_>) -> Witness {
        Witness {
            told: Arc::clone(&self.told),
            route: Arc::clone(&call.to.route),
            id: call.id.clone(),
        }
    }
}

/// What a request that was let in leads to.
enum Admitted<'a> {
    Call(Call<'a>),
    /// Nobody is called for it.
    Answer(Response<Body>),
}

/// A request that has passed its checks.
struct Call<'a> {
    id: &'a RequestId,
    to: Destination<'a>,
    is_grpc_web: bool,
    format: Format,
    /// Until when its body is to be there.
    body_deadline: Instant,
    deadline: Instant,
    claims: Option<Claims>,
    /// Its place among those worked on.
    place: OwnedSemaphorePermit,
}

impl Call<'_> {
    /// The only field of the answer that is shown.
    fn only(&self) -> Option<FieldDescriptor> {
        let (binding, _) = self.to.bound.as_ref()?;
        binding.response_body.clone()
    }
}

fn body_too_late() -> Fault {
    let message = "the body did not come in time";
    Fault::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, message)
}

fn options(allow: &Allow) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if let Ok(allow) = http::HeaderValue::try_from(allow.to_string()) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}
