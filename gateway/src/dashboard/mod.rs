//! The dashboard: a page that shows the services, their nodes, and forms to call their methods.
//!
//! All its addresses have one part, such as `/dashboard.js`, and no service can be in their way.

mod access;
mod assets;
mod events;
mod form;
mod sight;
mod watch;

use std::sync::{Arc, Mutex, Weak};

use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::Full;
use micro::{Client, ServiceContext};
use tokio::{
    sync::Semaphore,
    time::{Duration, timeout},
};
use tonic::body::Body;

use self::{events::Looker, form::Forms, watch::Watch};
use crate::{fault::Fault, find::Allow, settings::Settings, site::Site};

/// What the addresses of the dashboard begin with.
pub(crate) const PREFIX: &str = "/dashboard";
const EVENTS: &str = "/dashboard.events";
/// The exported methods of the service that is the query.
const METHODS: &str = "/dashboard.methods";
/// How many pages may look on.
const LOOKERS_MAX: usize = 32;
/// How long a service may take to describe itself.
const METHODS_TIMEOUT: Duration = Duration::from_secs(10);
/// With this the page marks its calls, and with this it is told who answered them.
const CALL: HeaderName = HeaderName::from_static("x-micro-dashboard");
const NODE: HeaderName = HeaderName::from_static("x-micro-node");

/// Who answered a call: an extension of the gateway's answers.
#[derive(Clone, Debug)]
pub(crate) struct AnsweredBy(pub(crate) HeaderValue);

/// The dashboard of a gateway.
#[derive(Debug)]
pub(crate) struct Dashboard {
    client: Client,
    within: Option<ServiceContext>,
    exported: Vec<String>,
    places: Arc<Semaphore>,
    watch: Mutex<Weak<Watch>>,
}

impl Dashboard {
    /// A dashboard of the services that `client` finds, with forms for those that are `exported`.
    pub(crate) fn new(client: Client, within: Option<ServiceContext>, exported: Vec<String>) -> Self {
        Self {
            client,
            within,
            exported,
            places: Arc::new(Semaphore::new(LOOKERS_MAX)),
            watch: Mutex::default(),
        }
    }

    /// Whether this is a path of the dashboard.
    pub(crate) fn has(path: &str) -> bool {
        let rest = path.strip_prefix(PREFIX);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && !rest.contains('/'))
    }

    /// Whether it is a call that the page makes, who is to be told the node.
    pub(crate) fn is_calling<B>(request: &Request<B>, settings: &Settings) -> bool {
        request.headers().contains_key(CALL)
            && access::check(request, settings).is_ok()
            && access::check_origin(request.headers()).is_ok()
    }

    /// Tells the page who answered its call.
    pub(crate) fn tell_node(response: &mut Response<Body>) {
        if let Some(AnsweredBy(node)) = response.extensions_mut().remove() {
            response.headers_mut().insert(NODE, node);
        }
    }

    /// Answers a request for one of its paths.
    pub(crate) async fn answer(
        &self,
        request: &Request<()>,
        site: &Site,
        settings: &Settings,
    ) -> Result<Response<Body>, Fault> {
        access::check(request, settings)?;
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return Err(Fault::not_allowed(&Allow::reading()));
        }
        if let Some(page) = assets::at(request.uri().path()) {
            return Ok(page);
        }
        access::check_origin(request.headers())?;
        match request.uri().path() {
            EVENTS => self.events(),
            METHODS => methods(site, request.uri().query().unwrap_or_default()).await,
            _ => Err(Fault::not_found()),
        }
    }

    fn events(&self) -> Result<Response<Body>, Fault> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Fault::overloaded())?;
        let watch = self.watch();
        let mut shown = watch.shown();
        // Who comes late is shown at once what there is.
        if !shown.borrow().is_empty() {
            shown.mark_changed();
        }
        let looker = Looker {
            watch,
            shown,
            within: self.within.clone(),
            place,
        };
        Ok(looker.into_response())
    }

    /// What all pages look at; it ends with the last of them.
    fn watch(&self) -> Arc<Watch> {
        let mut known = self.watch.lock().expect("no panic while it is locked");
        known.upgrade().unwrap_or_else(|| {
            let watch = Arc::new(Watch::start(self.client.clone(), self.exported.clone()));
            *known = Arc::downgrade(&watch);
            watch
        })
    }
}

/// The forms for the methods of `service`.
async fn methods(site: &Site, service: &str) -> Result<Response<Body>, Fault> {
    let exported = site.service(service).ok_or_else(Fault::not_found)?;
    let unknown = |reason: &str| {
        let message = format!("the service does not say what its methods are: {reason}");
        Fault::new(
            http::StatusCode::SERVICE_UNAVAILABLE,
            tonic::Code::Unavailable,
            message,
        )
    };
    let table = timeout(METHODS_TIMEOUT, exported.table()).await;
    let table = table.map_err(|_| unknown("it takes too long"))?;
    let table = table.map_err(|status| unknown(status.message()))?;
    let json = serde_json::to_string(&Forms::new(service, &table));
    let json = json.map_err(|error| unknown(&error.to_string()))?;
    let mut response = Response::new(Body::new(Full::from(json)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
