//! Collects what a service is made of; every check is in `build`.

use std::{collections::BTreeMap, convert::Infallible, fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use micro_registry::Registry;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService};
use tower_layer::Layer;
use tower_service::Service as TowerService;

use super::{
    ServiceContext, Settings,
    checks::Check,
    life::{Bind, Hooks},
    pulse::WallClock,
    stop::Signals,
    work::Work,
};
use crate::{
    ClientBuilder, RegistrySettings,
    config::Environment,
    server::{self, BoxError, BoxService, Listener, ServerBuilder},
    telemetry::trace::Sink,
};

type Addition = Box<dyn FnOnce(ServerBuilder, &ServiceContext) -> ServerBuilder + Send>;
type Adjustment = Box<dyn FnOnce(ClientBuilder) -> ClientBuilder + Send>;

/// Builds a [`Service`](super::Service).
///
/// What is set here is the program's say; `micro.toml` and the environment come after it: see [`config`](crate::config).
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use micro::{Policy, Service, registry::Memory};
///
/// # fn main() -> micro::Result<()> {
/// let service = Service::builder("greeter")
///     .version("1.2.0")
///     .metadata("zone", "a")
///     .check("db", |_cx| async { Ok::<(), std::io::Error>(()) })
///     .task("clean", |cx| async move { cx.cancelled().await })
///     .client(|client| client.policy(Policy::RoundRobin))
///     .drain_timeout(Duration::from_secs(10))
///     .registry(Arc::new(Memory::default()))
///     .build()?;
/// assert!(service.id().starts_with("greeter-"));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ServiceBuilder {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) id: Option<String>,
    pub(super) address: Option<String>,
    pub(super) advertise: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) propagate: Option<Vec<String>>,
    pub(super) settings: Settings,
    pub(super) server: server::Settings,
    pub(super) hooks: Hooks,
    pub(super) checks: Vec<Check>,
    pub(super) tasks: Vec<Work>,
    pub(super) additions: Vec<Addition>,
    pub(super) adjustments: Vec<Adjustment>,
    pub(super) registry: Option<Arc<dyn Registry>>,
    pub(super) backends: RegistrySettings,
    pub(super) environment: Environment,
    pub(super) token: CancellationToken,
    pub(super) signals: Option<Signals>,
    pub(super) control: Option<Handle>,
    pub(super) clock: WallClock,
    pub(super) listener: Option<(io::Result<SocketAddr>, Bind)>,
    pub(super) sink: Sink,
}

/// Who the service is, and what it is made of.
impl ServiceBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            version: String::new(),
            id: None,
            address: None,
            advertise: None,
            metadata: BTreeMap::new(),
            propagate: None,
            settings: Settings::default(),
            server: server::Settings::default(),
            hooks: Hooks::default(),
            checks: Vec::new(),
            tasks: Vec::new(),
            additions: Vec::new(),
            adjustments: Vec::new(),
            registry: None,
            backends: RegistrySettings::default(),
            environment: Environment::default(),
            token: CancellationToken::new(),
            signals: None,
            control: None,
            clock: WallClock::default(),
            sink: Sink::default(),
            listener: None,
        }
    }

    /// Sets the version that the registry is told. Default: empty.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Sets the id of this node, unique among the nodes of the service. Default: the name and eight random hex digits.
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets what to listen on, `host:port`; port 0 is any free one, `0.0.0.0:9090` opens it to the network. Default:
    /// `127.0.0.1:0`.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Sets what the registry is told instead of the address listened on: `host` or `host:port`. Default: the address
    /// listened on; where that is every address, that of the first interface that other hosts can reach.
    pub fn advertise(mut self, address: impl Into<String>) -> Self {
        self.advertise = Some(address.into());
        self
    }

    /// Adds one pair of metadata that the registry is told. Of two with one key the last stands.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Sets which metadata of a call travels on to the calls that handlers make, beside trace context and baggage: keys,
    /// and prefixes that end in `-` or `*`. Default: the prefix `x-md-global-`.
    pub fn propagate(mut self, keys: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.propagate = Some(keys.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a gRPC service, as tonic generated it. One that is added twice is an error of [`build`](Self::build).
    pub fn add_service<S, B>(self, service: S) -> Self
    where
        S: TowerService<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.add_service_with(|_cx| service)
    }

    /// Adds a gRPC service whose handler needs the service it is part of, such as its client.
    pub fn add_service_with<S, B>(
        mut self,
        service: impl FnOnce(&ServiceContext) -> S + Send + 'static,
    ) -> Self
    where
        S: TowerService<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.additions
            .push(Box::new(|server, cx| server.add_service(service(cx))));
        self
    }

    /// Sends the service's metrics, and when it stops the last spans and metrics, for at most 3 s of the time it has for that.
    /// Default: no metrics are sent, and no spans are waited for.
    #[cfg(feature = "otel")]
    pub fn otlp(mut self, otlp: &crate::Otlp) -> Self {
        self.sink.set(otlp);
        self
    }

    /// Adds an encoded `FileDescriptorSet`, such as the one that `include_proto!` makes: for reflection, and for the
    /// methods that the registry is told. Default: none, and neither.
    pub fn descriptors(mut self, set: impl Into<Bytes>) -> Self {
        let set = set.into();
        self.additions
            .push(Box::new(|server, _cx| server.descriptors(set)));
        self
    }

    /// Adds a layer around all handlers. The first one added meets a request first. Default: none.
    pub fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<BoxService> + Send + Sync + 'static,
        L::Service: TowerService<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        <L::Service as TowerService<Request<Body>>>::Future: Send + 'static,
        <L::Service as TowerService<Request<Body>>>::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.additions.push(Box::new(|server, _cx| server.layer(layer)));
        self
    }

    /// Adds what answers plain HTTP on the port of the service: requests that are neither gRPC nor for `/health`, `/ready` and
    /// `/metrics`, over HTTP/1.1 and HTTP/2. It is handed the service it is part of, for its client. What limits
    /// connections and headers holds for it, and so does the drain; `calls_max` and deadlines are for gRPC. A request tells
    /// who sent it by its extension [`tonic::transport::server::TcpConnectInfo`]; a response may tell `/metrics` what answered
    /// by an [`HttpRoute`](crate::HttpRoute). Default: none, and what is not gRPC is
    /// answered with 404.
    pub fn web<S, B>(mut self, web: impl FnOnce(&ServiceContext) -> S + Send + 'static) -> Self
    where
        S: TowerService<Request<Body>, Response = Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.additions.push(Box::new(|server, cx| server.web(web(cx))));
        self
    }

    /// Adjusts the service's client: its policy, its layers, its timeouts. Default: what a client has.
    pub fn client(mut self, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder + Send + 'static) -> Self {
        self.adjustments.push(Box::new(adjust));
        self
    }
}

/// What surrounds it.
impl ServiceBuilder {
    /// Sets the registry itself, whatever the configuration names. Default: the one that the configuration names, which
    /// is mDNS unless it says otherwise.
    pub fn registry(mut self, registry: Arc<dyn Registry>) -> Self {
        self.registry = Some(registry);
        self
    }

    /// Adds a registry that `MICRO_REGISTRY` can then name: see [`RegistrySettings::backend`].
    pub fn backend(
        mut self,
        name: impl Into<String>,
        factory: impl Fn(&RegistrySettings) -> micro_registry::Result<Arc<dyn Registry>> + Send + Sync + 'static,
    ) -> Self {
        self.backends = self.backends.backend(name, factory);
        self
    }

    /// Reads these variables instead of those of the process, and a file only if they name one by `MICRO_CONFIG`: for
    /// tests, and for programs that run several services. Default: the process's.
    pub fn environment<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        let variables = variables
            .into_iter()
            .map(|(name, text)| (name.into(), text.into()));
        self.environment = Environment::Given(variables.collect());
        self
    }

    /// Sets the runtime on which the registry is called. Default: one thread of its own, so that a handler that blocks
    /// its worker loses no registration.
    pub fn control(mut self, handle: Handle) -> Self {
        self.control = Some(handle);
        self
    }

    /// Sets what is read as the wall clock, the time since some moment, by which it is seen that the host was suspended.
    /// Default: the system's.
    ///
    /// For simulations, whose time is not that of the host they run on.
    pub fn wall_clock(mut self, now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = WallClock::new(move || std::time::UNIX_EPOCH + now());
        self
    }

    /// Sets where connections come from. Default: TCP on the address.
    pub fn listener<L: Listener>(mut self, listener: L) -> Self {
        let address = listener.local_address();
        let bind: Bind = Box::new(|server| Box::pin(async { server.start(listener) }));
        self.listener = Some((address, bind));
        self
    }

    /// Takes a listener back.
    #[cfg(test)]
    pub(super) fn over_tcp(mut self) -> Self {
        self.listener = None;
        self
    }
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder")
            .field("name", &self.name)
            .field("hooks", &self.hooks)
            .field("checks", &self.checks)
            .field("tasks", &self.tasks)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
