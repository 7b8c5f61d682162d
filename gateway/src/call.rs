//! One request, from its checks to its answer.

use std::{collections::BTreeMap, sync::Arc};

use http::{Method, Request, Response, StatusCode, header};
use micro::{CallOptions, Client};
use micro_dynamic::{invoke, invoke_streaming};
use prost_reflect::DynamicMessage;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tonic::{Code, Status, body::Body};

use crate::{
    accept::Format,
    answer::{self, Replies},
    exported::Exported,
    fault::{self, Fault},
    headers::{self, RequestId},
    path::Path,
    query, request,
    settings::Settings,
    table::Route,
    told::Told,
};

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Calls {
    settings: Settings,
    services: BTreeMap<String, Exported>,
    places: Arc<Semaphore>,
    told: Told,
}

/// How a method may be asked for.
const POST: &str = "POST, OPTIONS";
const GET_AND_POST: &str = "GET, HEAD, POST, OPTIONS";

impl Calls {
    pub(crate) fn new(settings: Settings, client: &Client) -> Self {
        let mut exports: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for export in &settings.export {
            exports
                .entry(export.service().to_owned())
                .or_default()
                .push(export.clone());
        }
        let services = exports
            .into_iter()
            .map(|(name, exports)| (name.clone(), Exported::new(&name, exports, client.clone())));
        Self {
            services: services.collect(),
            places: Arc::new(Semaphore::new(settings.calls_max.min(Semaphore::MAX_PERMITS))),
            told: Told::default(),
            settings,
        }
    }

    /// Answers `request`, whatever it is.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let id = RequestId::of(request.headers().get(headers::REQUEST_ID));
        let is_head = request.method() == Method::HEAD;
        let answered = self.try_answer(request, &id).await;
        let mut response = answered.unwrap_or_else(|fault| fault.into_response(&id));
        let headers = response.headers_mut();
        headers.insert(headers::REQUEST_ID, id.header());
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            http::HeaderValue::from_static("nosniff"),
        );
        if is_head {
            response = response.map(|_| Body::empty());
        }
        response
    }

    async fn try_answer(&self, request: Request<Body>, id: &RequestId) -> Result<Response<Body>, Fault> {
        let begun = Instant::now();
        headers::check_host(&request, &self.settings)?;
        // Both at once is how requests are smuggled past whoever stands in front.
        let headers = request.headers();
        if headers.contains_key(header::TRANSFER_ENCODING) && headers.contains_key(header::CONTENT_LENGTH) {
            return Err(Fault::invalid("the request has two lengths"));
        }
        let path = Path::parse(request.uri().path()).map_err(|error| Fault::invalid(error.to_string()))?;
        let exported = self.services.get(&path.service).ok_or_else(Fault::not_found)?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Fault::overloaded())?;

        let unary_deadline = begun + headers::timeout(headers, &self.settings, false)?;
        let table = timeout_at(unary_deadline, exported.table()).await;
        let table = table.unwrap_or_else(|_| Err(Status::deadline_exceeded("the service is not known yet")));
        let table = table.map_err(|status| self.fault_of_lookup(&path.service, &status, id))?;
        let route = table.find(&path).ok_or_else(Fault::not_found)?;

        let allowed = if route.has_no_side_effects {
            GET_AND_POST
        } else {
            POST
        };
        if request.method() == Method::OPTIONS {
            return Ok(options(allowed));
        }
        let is_get = request.method() == Method::GET || request.method() == Method::HEAD;
        if request.method() != Method::POST && !(is_get && route.has_no_side_effects) {
            return Err(Fault::not_allowed(allowed));
        }
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
            service: &path.service,
            exported,
            route,
            format: Format::wanted(headers, is_stream)?,
            deadline: begun + headers::timeout(headers, &self.settings, is_stream)?,
        };
        // A body has as long as a unary call, so that a slow one does not hold a place for an hour.
        let request = timeout_at(unary_deadline, self.request(request, &call, is_get))
            .await
            .map_err(|_| {
                let message = "the body did not come in time";
                Fault::new(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, message)
            })??;
        self.call(call, request, place).await
    }

    /// The request as gRPC has it.
    async fn request(
        &self,
        request: Request<Body>,
        call: &Call<'_>,
        is_get: bool,
    ) -> Result<tonic::Request<DynamicMessage>, Fault> {
        let metadata = headers::metadata(&request, &self.settings, call.id);
        let (parts, body) = request.into_parts();
        let descriptor = call.route.method.input();
        let message = if is_get {
            query::message(&descriptor, parts.uri.query().unwrap_or_default())?
        } else if parts.uri.query().is_some() {
            return Err(Fault::invalid(
                "a POST request has its message in its body, and no query",
            ));
        } else {
            request::message(&descriptor, &parts.headers, body, &self.settings).await?
        };
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata;
        Ok(request)
    }

    async fn call(
        &self,
        call: Call<'_>,
        request: tonic::Request<DynamicMessage>,
        place: OwnedSemaphorePermit,
    ) -> Result<Response<Body>, Fault> {
        let left = call.deadline.saturating_duration_since(Instant::now());
        let mut request = request.map(tokio_stream::once);
        request.extensions_mut().insert(CallOptions::new().timeout(left));
        let (channel, method) = (call.route.channel.clone(), &call.route.method);
        let answered = if method.is_server_streaming() {
            let replies = invoke_streaming(channel, method, request).await;
            replies.map(|replies| {
                Replies {
                    format: call.format,
                    replies: replies.into_inner(),
                    deadline: call.deadline,
                    pool: method.parent_pool().clone(),
                    id: call.id.clone(),
                    place,
                }
                .into_response()
            })
        } else {
            let reply = invoke(channel, method, request).await;
            reply.and_then(|reply| answer::message(reply.get_ref()))
        };
        answered.map_err(|status| self.fault_of_call(&call, &status))
    }

    fn fault_of_lookup(&self, service: &str, status: &Status, id: &RequestId) -> Fault {
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
        if status.code() == Code::Unimplemented {
            call.exported.doubt();
        }
        if fault::is_hidden(status) && self.told.again() {
            let (service, method) = (call.service, call.route.name());
            tracing::warn!(service, method, id = call.id.as_str(), %status, "a call failed");
        }
        Fault::of_call(status, call.route.method.parent_pool())
    }
}

/// A request that has passed its checks.
struct Call<'a> {
    id: &'a RequestId,
    service: &'a str,
    exported: &'a Exported,
    route: &'a Route,
    format: Format,
    deadline: Instant,
}

fn options(allowed: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::ALLOW, http::HeaderValue::from_static(allowed));
    response
}
