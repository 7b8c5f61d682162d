//! One request, from its checks to its answer.

mod admission;
mod passing;

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use micro::{CallOptions, Client, HttpRoute, Peer, ServiceContext};
use micro_dynamic::invoke_streaming;
use prost_reflect::DynamicMessage;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tonic::{Code, Status, body::Body};

use crate::{
    accept::Format,
    answer::{self, Replies},
    binding::BodyPlace,
    compression::Accepted,
    cors,
    dashboard::{self, AnsweredBy, Dashboard},
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
    unary,
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

    /// Answers `request`, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let id = RequestId::of(request.headers().get(headers::REQUEST_ID));
        let is_head = request.method() == Method::HEAD;
        let is_of_dashboard = self.dashboard.is_some() && Dashboard::is_calling(&request, &self.settings);
        let is_grpc_web = grpc_web::is(request.method(), request.headers());
        let content_type = is_grpc_web.then(|| grpc_web::content_type(request.headers()));
        let accepted = self.settings.compression.then(|| Accepted::by(request.headers()));
        let mut route = None;
        let answered = self.try_answer(request, &id, &mut route).await;
        let mut response = answered.unwrap_or_else(|fault| match content_type {
            Some(content_type) => fault.into_grpc_web(content_type),
            None => fault.into_response(&id),
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
        if is_head {
            response = response.map(|_| Body::empty());
        }
        match accepted {
            Some(accepted) => Box::pin(accepted.compress(response)).await,
            None => response,
        }
    }

    /// Notes in `answers` what answers, once that is known. What few requests come to is in boxes: all would carry its size.
    async fn try_answer(
        &self,
        request: Request<Body>,
        id: &RequestId,
        answers: &mut Option<HttpRoute>,
    ) -> Result<Response<Body>, Fault> {
        let begun = Instant::now();
        if let Some(dashboard) = self
            .dashboard
            .as_ref()
            .filter(|_| Dashboard::has(request.uri().path()))
        {
            *answers = Some(HttpRoute::new(dashboard::PREFIX));
            return Box::pin(dashboard.answer(request, &self.site, &self.settings)).await;
        }
        headers::check_host(&request, &self.settings)?;
        cors::check_page(&request, self.settings.cors.as_ref())?;
        let headers = request.headers();
        headers::check_length(headers)?;
        self.take_turn(By::Address, &request, None)?;
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
        let unary_deadline = begun + headers::timeout(headers, &self.settings, false)?;
        if self.settings.openapi && request.uri().path() == openapi::PATH {
            *answers = Some(HttpRoute::new(openapi::PATH));
            brought.transpose()?;
            return Box::pin(self.openapi(request.method(), headers, unary_deadline)).await;
        }
        let (path, method) = (request.uri().path(), request.method());
        let is_grpc_web = grpc_web::is(method, headers);
        let found = if is_grpc_web {
            Box::pin(self.site.find_grpc(path, unary_deadline)).await
        } else {
            self.site.find(path, method, unary_deadline).await
        };
        let to = match found.map_err(|lost| self.fault_of_lookup(lost, id))? {
            Lookup::Destination(destination) => destination,
            Lookup::Options(allow) => return Ok(options(&allow)),
        };
        *answers = Some(to.http_route());
        let claims = match (&self.guard, brought) {
            (Some(guard), Some(brought)) => guard.admit(brought, &to)?,
            _ => None,
        };
        self.take_turn(By::Subject, &request, claims.as_ref())?;
        let route = &to.route;
        if route.method.is_client_streaming() {
            let message = "the method takes a stream of messages, which has no form here";
            return Err(Fault::new(
                StatusCode::NOT_IMPLEMENTED,
                Code::Unimplemented,
                message,
            ));
        }
        let is_stream = route.method.is_server_streaming();
        let call = Call {
            id,
            format: if is_grpc_web {
                Format::Json
            } else {
                Format::wanted(headers, is_stream)?
            },
            deadline: if is_stream {
                begun + headers::timeout(headers, &self.settings, is_stream)?
            } else {
                unary_deadline
            },
            to: &to,
            claims: claims.as_ref(),
        };
        if is_grpc_web {
            return Box::pin(self.pass(call, request, unary_deadline, place)).await;
        }
        // A body has as long as a unary call, so that a slow one does not hold a place for an hour.
        let request = {
            let reading = pin!(self.request(request, &call));
            timeout_at(unary_deadline, reading).await
        };
        let request = request.map_err(|_| body_too_late())??;
        self.call(call, request, place).await
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

    /// The request as gRPC has it.
    async fn request(
        &self,
        request: Request<Body>,
        call: &Call<'_>,
    ) -> Result<tonic::Request<DynamicMessage>, Fault> {
        let mut metadata = headers::metadata(&request, &self.settings, call.id);
        if let Some(guard) = &self.guard {
            guard.forward(call.claims, &mut metadata)?;
        }
        let (parts, body) = request.into_parts();
        let descriptor = call.to.route.method.input();
        let query = parts.uri.query();
        let message = if let Some((binding, values)) = &call.to.bound {
            let bytes = match binding.body {
                BodyPlace::Nowhere => Bytes::new(),
                BodyPlace::Whole | BodyPlace::Field(_) => {
                    request::bytes(&parts.headers, body, &self.settings).await?
                }
            };
            let depth_max = self.settings.json_depth_max;
            fields::message(&descriptor, &binding.body, values, query, &bytes, depth_max)?
        } else if parts.method == Method::POST {
            if query.is_some() {
                return Err(Fault::invalid(
                    "a POST request has its message in its body, and no query",
                ));
            }
            request::message(&descriptor, &parts.headers, body, &self.settings).await?
        } else {
            query::message(&descriptor, query.unwrap_or_default())?
        };
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata;
        Ok(request)
    }

    async fn call(
        &self,
        call: Call<'_>,
        mut request: tonic::Request<DynamicMessage>,
        place: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Fault> {
        let left = call.deadline.saturating_duration_since(Instant::now());
        request.extensions_mut().insert(CallOptions::new().timeout(left));
        let (channel, method) = (call.to.route.channel.clone(), &call.to.route.method);
        let only = call
            .to
            .bound
            .as_ref()
            .and_then(|(binding, _)| binding.response_body.clone());
        let answered = if method.is_server_streaming() {
            let request = request.map(tokio_stream::once);
            let replies = Box::pin(invoke_streaming(channel, method, request)).await;
            replies.map(|replies| {
                let node = self.answered_by(replies.extensions().get());
                let response = Replies {
                    format: call.format,
                    replies: replies.into_inner(),
                    only,
                    deadline: call.deadline,
                    pool: method.parent_pool().clone(),
                    witness: self.witness(&call),
                    place,
                }
                .into_response();
                told_of(node, response)
            })
        } else {
            let path = call.to.route.path.clone();
            let reply = unary::call(channel, path, method.output(), request).await;
            reply.and_then(|reply| {
                let response = answer::message(reply.body(), only.as_ref())?;
                Ok(told_of(self.answered_by(reply.extensions().get()), response))
            })
        };
        answered.map_err(|status| self.fault_of_call(&call, &status))
    }

    /// Who answered, where there is a dashboard that shows it.
    fn answered_by(&self, peer: Option<&Peer>) -> Option<AnsweredBy> {
        self.dashboard.as_ref()?;
        let id = http::HeaderValue::from_str(peer?.node_id()).ok()?;
        Some(AnsweredBy(id))
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
        self.note_failure(call, status);
        Fault::of_call(status, call.to.route.method.parent_pool())
    }

    /// What follows from a call that came to nothing, in whatever form it was asked for.
    fn note_failure(&self, call: &Call<'_>, status: &Status) {
        if status.code() == Code::Unimplemented {
            call.to.exported.doubt();
        }
        self.witness(call).tell(status);
    }

    fn witness(&self, call: &Call<'_>) -> Witness {
        Witness {
            told: Arc::clone(&self.told),
            route: Arc::clone(&call.to.route),
            id: call.id.clone(),
        }
    }
}

/// A request that has passed its checks.
struct Call<'a> {
    id: &'a RequestId,
    to: &'a Destination<'a>,
    format: Format,
    deadline: Instant,
    claims: Option<&'a Claims>,
}

fn told_of(node: Option<AnsweredBy>, mut response: Response<Body>) -> Response<Body> {
    node.and_then(|node| response.extensions_mut().insert(node));
    response
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
