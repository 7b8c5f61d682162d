//! What a server is made of, checked before anything listens.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use http::{Request, Response};
use micro_registry::{Method, ServiceName};
use tonic::{body::Body, server::NamedService, service::RoutesBuilder};
use tonic_health::pb::health_server::HealthServer;
use tower_layer::Layer;
use tower_service::Service;
use tracing::debug;

use super::{
    Health, Listener, Server, Settings,
    health::HealthService,
    layers::{
        handlers::{BoxError, BoxService, Handlers, Wrap, wrap},
        probe::ProbeLayer,
    },
    load::Load,
    metrics::{ACTIVE_CALLS, CALLS_LIMIT, REFUSED_CALLS},
    reflection,
    route::Routes,
    stack::{self, Stack},
    web::Web,
};
use crate::{Error, Result, descriptors, telemetry::Telemetry, tls::ServerTls};

/// The gRPC services that every server has, and which nobody can add once more.
const OWN_SERVICES: [&str; 3] = [
    HealthServer::<HealthService>::NAME,
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// What tells of them.
const OWN_DESCRIPTORS: [&[u8]; 3] = [
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Collects what a server is made of.
pub(crate) struct ServerBuilder {
    service: ServiceName,
    settings: Settings,
    routes: RoutesBuilder,
    /// How often each gRPC service was added.
    added: BTreeMap<String, usize>,
    layers: Vec<Wrap>,
    web: Option<Web>,
    descriptors: Vec<Bytes>,
    telemetry: Telemetry,
}

/// A server that is checked and complete, but does not listen yet.
pub(crate) struct UnboundServer {
    pub(super) stack: Stack,
    pub(super) health: Health,
    methods: Vec<Method>,
    pub(super) settings: Settings,
    pub(super) telemetry: Telemetry,
    pub(super) tls: Option<ServerTls>,
}

impl ServerBuilder {
    /// A server of the service that is registered under this name.
    pub(crate) fn new(service: ServiceName, settings: Settings) -> Self {
        Self {
            service,
            settings,
            telemetry: Telemetry::new(),
            routes: RoutesBuilder::default(),
            added: BTreeMap::new(),
            layers: Vec::new(),
            web: None,
            descriptors: Vec::new(),
        }
    }

    /// Replaces the settings.
    #[must_use]
    pub(crate) fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Records into `telemetry`, which `/metrics` tells. Default: a recorder of its own.
    #[must_use]
    pub(crate) fn telemetry(mut self, telemetry: Telemetry) -> Self {
        self.telemetry = telemetry;
        self
    }

    /// Adds a gRPC service, as tonic generated it.
    #[must_use]
    pub(crate) fn add_service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let times = self.added.entry(S::NAME.to_owned()).or_default();
        *times += 1;
        // The routes panic on a path that is there; `build` refuses it with a sentence.
        if *times == 1 && !OWN_SERVICES.contains(&S::NAME) {
            self.routes.add_service(service);
        }
        self
    }

    /// Adds a layer around all handlers. The first one added meets a request first.
    #[must_use]
    pub(crate) fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<BoxService> + Send + Sync + 'static,
        L::Service: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        <L::Service as Service<Request<Body>>>::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.layers.push(wrap(layer));
        self
    }

    /// Sets what answers plain HTTP. The last one stands.
    #[must_use]
    pub(crate) fn web<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.web = Some(Web::new(service));
        self
    }

    /// Adds an encoded `FileDescriptorSet`: for reflection, and for the methods that the registry is told.
    #[must_use]
    pub(crate) fn descriptors(mut self, set: impl Into<Bytes>) -> Self {
        self.descriptors.push(set.into());
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// A configuration error when a service was added twice or is the server's own, when descriptors cannot be read,
    /// when a setting is impossible, or when a file of TLS cannot be used.
    pub(crate) fn build(mut self) -> Result<UnboundServer> {
        let settings = self.settings.checked()?;
        check_added(&self.added)?;
        let tls = settings.tls.as_ref().map(ServerTls::new).transpose()?;
        let mut methods = descriptors::methods_of_all(&self.descriptors)?;
        methods.retain(|method| self.added.contains_key(&method.service));
        let described: BTreeSet<String> = methods.iter().map(|method| method.service.clone()).collect();
        for service in self.added.keys().filter(|name| !described.contains(*name)) {
            debug!(
                service,
                "no descriptors: reflection does not tell of this service"
            );
        }
        let added: BTreeSet<String> = self.added.into_keys().collect();
        let own = descriptors::methods_of_all(&OWN_DESCRIPTORS)?;
        let refused = self.telemetry.counter(REFUSED_CALLS, &[]);
        let load = Arc::new(Load::new(&settings, refused));
        let routes = Routes::new(
            &added,
            &OWN_SERVICES,
            methods.iter().chain(&own),
            &load,
            &self.telemetry,
        );
        observe_calls(&self.telemetry, load);
        let health = Health::new(added.into_iter().chain([self.service.to_string()]));
        self.routes
            .add_service(HealthServer::new(HealthService(health.clone())));
        reflection::add_to(&mut self.routes, &described, &self.descriptors)?;
        let handlers = Handlers::new(self.routes.routes().prepare(), self.layers);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let web = self
            .web
            .map(|web| web.measured(&self.telemetry, scheme, settings.write_timeout));
        let probe = ProbeLayer::new(health.clone(), self.telemetry.clone()).web(web);
        Ok(UnboundServer {
            stack: stack::stack(self.service, &settings, probe, routes, handlers),
            health,
            methods,
            settings,
            telemetry: self.telemetry,
            tls,
        })
    }
}

fn observe_calls(telemetry: &Telemetry, load: Arc<Load>) {
    let active = telemetry.gauge(ACTIVE_CALLS, &[]);
    let limit = telemetry.gauge(CALLS_LIMIT, &[]);
    telemetry.observe(move || {
        active.set(load.active() as f64);
        limit.set(load.limit() as f64);
    });
}

fn check_added(added: &BTreeMap<String, usize>) -> Result<()> {
    for (name, times) in added {
        if OWN_SERVICES.contains(&name.as_str()) {
            return Err(Error::config(format!(
                "gRPC service `{name}` was added, but every server has it already"
            )));
        }
        if *times > 1 {
            return Err(Error::config(format!(
                "gRPC service `{name}` was added {times} times"
            )));
        }
    }
    Ok(())
}

impl UnboundServer {
    /// The state that health answers; not serving and not ready until it is set.
    pub(crate) fn health(&self) -> Health {
        self.health.clone()
    }

    /// The methods of the services that were added, as far as descriptors tell them.
    pub(crate) fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// Serves what `listener` accepts, until the returned server is drained or dropped.
    ///
    /// # Errors
    ///
    /// A server error when the listener does not tell its address.
    pub(crate) fn start<L: Listener>(self, listener: L) -> Result<Server> {
        Server::start(listener, self)
    }
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("service", &self.service)
            .field("added", &self.added)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for UnboundServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundServer")
            .field("methods", &self.methods)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
