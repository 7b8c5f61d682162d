//! The gateway as a tower service, and as a service of the framework.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Method, Request, Response};
use micro::{Client, Service, ServiceBuilder, ServiceContext};
use tonic::body::Body;
use tower::{service_fn, util::BoxCloneSyncService};
use tower_layer::Layer;

use crate::{call::Calls, cors, settings::Settings};

/// The name under which gateways are registered.
const NAME: &str = "gateway";
/// Where a gateway listens unless it is told: nothing is open to the network unasked.
const ADDRESS: &str = "127.0.0.1:8080";

/// How many bytes of an answer may wait for a client that is slow to take them: clients may be many, and strangers.
const STREAM_WINDOW: u32 = 64 * 1024;
/// How many connections a node may get: at 200 streams each there is room for all of `calls_max`, should one node have to answer
/// them all.
const CONNECTIONS_PER_NODE: usize = 6;

/// Answers HTTP requests by calls. Cheap to clone; clones share all they know.
///
/// Calls of a client that is slow to take a long answer hold as much of it as the client's `stream_window`, which is best small
/// where clients are strangers: [`service`] has 64 KiB.
///
/// The first request for a service has it described by a node; until nobody has asked for it for five minutes its versions
/// are followed, and no request waits for that again.
///
/// ```
/// use micro::{Client, registry::Static};
/// use micro_gateway::{Gateway, Settings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry: Static = "greeter=127.0.0.1:9090".parse()?;
/// let client = Client::builder(std::sync::Arc::new(registry)).build()?;
/// let gateway = Gateway::new(&client, Settings::exporting(["greeter"])?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gateway {
    calls: Arc<Calls>,
    /// What tells pages of other origins what they may, where any may.
    cors: Option<BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>>,
}

impl Gateway {
    /// A gateway to the services that `client` finds.
    #[must_use]
    pub fn new(client: &Client, settings: Settings) -> Self {
        Self::with(settings, client, None)
    }

    /// The gateway that `cx` is the service of.
    fn within(cx: &ServiceContext, settings: Settings) -> Self {
        Self::with(settings, &cx.client(), Some(cx.clone()))
    }

    fn with(settings: Settings, client: &Client, within: Option<ServiceContext>) -> Self {
        let cors = settings.cors.clone();
        let forwarded: Vec<_> = settings
            .forward
            .iter()
            .map(|forwarded| forwarded.0.clone())
            .collect();
        let calls = Arc::new(Calls::new(settings, client, within));
        let cors = cors.map(|cors| {
            let calls = Arc::clone(&calls);
            let answering = service_fn(move |request| {
                let calls = Arc::clone(&calls);
                answer(calls, request)
            });
            // Outermost, so that a page can read what was refused.
            let marking = cors.layer(forwarded.into_iter()).layer(answering);
            BoxCloneSyncService::new(marking)
        });
        Self { calls, cors }
    }
}

/// The gateway as a service of its own, registered as `gateway`: health, drain and the limits of connections are the
/// framework's. It listens on `127.0.0.1:8080` unless the builder or the configuration says otherwise.
pub fn service(settings: Settings) -> ServiceBuilder {
    Service::builder(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .address(ADDRESS)
        .client(|client| {
            client
                .stream_window(STREAM_WINDOW)
                .connections_per_node(CONNECTIONS_PER_NODE)
        })
        .web(move |cx| Gateway::within(cx, settings))
}

impl tower_service::Service<Request<Body>> for Gateway {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // What asks for methods and is no preflight is not its business to answer.
        let is_cors = request.method() != Method::OPTIONS || cors::is_preflight(&request);
        if let Some(cors) = self.cors.as_mut().filter(|_| is_cors) {
            return cors.call(request);
        }
        let calls = Arc::clone(&self.calls);
        Box::pin(answer(calls, request))
    }
}

fn answer(
    calls: Arc<Calls>,
    request: Request<Body>,
) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
    let (parts, body) = request.into_parts();
    let mut head = Request::from_parts(parts, ());
    async move { Ok(calls.answer(&mut head, body).await) }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}
