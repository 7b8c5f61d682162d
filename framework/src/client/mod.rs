//! The client: finds the nodes of a service, keeps connections to them, and sends each call to one of them.

mod attempt;
mod body;
mod budget;
mod builder;
mod call;
mod candidate;
mod census;
mod changes;
mod channel;
mod connection;
mod connector;
mod dialer;
mod endpoint;
mod endpoints;
mod failure;
mod follower;
mod headers;
mod health;
mod heard;
mod hedge;
mod incoming;
mod keepalive;
mod load;
mod meter;
mod methods;
mod metrics;
mod observe;
mod options;
mod outlier;
mod past;
mod peak;
mod peer;
mod picker;
mod policy;
mod reach;
mod response;
mod retry;
mod room;
mod row;
mod selection;
mod sending;
mod settings;
mod spot;
mod stable_hash;
mod status;
mod streak;
mod streams;
mod subset;
mod table;
mod target;
mod targets;
mod times;
mod unsent;
mod views;
mod waiting;

use std::{fmt, io, sync::Arc};

use micro_registry::{Node, Registry, ServiceName, Snapshot, Watcher};
use tonic::{Status, body::Body};

use self::{
    dialer::Dialer,
    meter::{Meters, Recorder},
    target::Target,
    targets::Targets,
};
use crate::{
    Result,
    backends::RegistrySettings,
    config::{Environment, Loaded},
    control::Control,
};

pub use self::{
    builder::ClientBuilder,
    candidate::Candidate,
    channel::{Channel, ResponseFuture},
    connector::{Connect, Connecting, Io},
    options::CallOptions,
    peer::Peer,
    policy::{Balancer, CallInfo, CustomPolicy, Pick, Policy},
    status::{EndpointState, EndpointStatus, ServiceStatus},
};
pub(crate) use self::{connection::WINDOW_MAX, reach::Range, settings::Settings};

type BoxService = tower::util::BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;

/// Calls services by name. Cheap to clone; clones share connections and what is known of the nodes.
///
/// Connections live on the tokio runtime that makes the first call of a service; use a client from one runtime only.
///
/// ```
/// use std::sync::Arc;
/// use micro::{Client, registry::Static};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry: Static = "greeter=127.0.0.1:9090".parse()?;
/// let client = Client::builder(Arc::new(registry)).build()?;
/// let channel = client.channel("greeter"); // under any generated stub: SayClient::new(channel)
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<dyn Registry>,
    settings: Arc<Settings>,
    dialer: Dialer,
    layers: Arc<[channel::UserLayer]>,
    targets: Targets,
    meters: Arc<Meters>,
    control: Control,
}

impl Client {
    /// A client of the registry that `micro.toml` and the environment name, with the settings they have: see
    /// [`config`](crate::config). Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) for a mistake in the configuration, and for a registry that this
    /// build does not have.
    pub fn from_env() -> Result<Self> {
        let loaded = Loaded::load(&Environment::Process)?;
        let mut registry = RegistrySettings::default();
        loaded.registry(&mut registry);
        Self::opened(&registry, &loaded)
    }

    /// A client of this registry, otherwise like [`from_env`](Self::from_env).
    ///
    /// # Errors
    ///
    /// Those of [`from_env`](Self::from_env).
    pub fn from_settings(registry: &RegistrySettings) -> Result<Self> {
        Self::opened(registry, &Loaded::load(&Environment::Process)?)
    }

    fn opened(registry: &RegistrySettings, loaded: &Loaded) -> Result<Self> {
        let builder = Self::builder(registry.open()?)
            .registry_at(registry.own_addresses())
            .own_loopback(registry.has_own_loopback());
        builder.configured(loaded).build()
    }

    /// Starts a client that finds its nodes in `registry`.
    pub fn builder(registry: Arc<dyn Registry>) -> ClientBuilder {
        ClientBuilder::new(registry)
    }

    fn new(
        registry: Arc<dyn Registry>,
        settings: Settings,
        control: Control,
        dialer: Dialer,
        layers: Arc<[channel::UserLayer]>,
        recorder: Recorder,
    ) -> Self {
        let (settings, targets) = (Arc::new(settings), Targets::default());
        let meters = Arc::new(Meters::new(recorder, registry.name(), &control));
        Self {
            inner: Arc::new(Inner {
                registry,
                settings,
                dialer,
                layers,
                targets,
                meters,
                control,
            }),
        }
    }

    /// The channel to `service`. Its first call starts following the service, which goes on for 5 minutes after the last
    /// channel to it was dropped. Calls through a channel to what is no service name answer `INVALID_ARGUMENT`.
    #[must_use]
    pub fn channel(&self, service: &str) -> Channel {
        let target = match service.parse() {
            Ok(service) => Ok(self.target(service)),
            Err(error) => Err(Status::invalid_argument(micro_registry::Error::to_string(&error))),
        };
        Channel::new(target, Arc::clone(&self.inner.layers))
    }

    fn target(&self, service: ServiceName) -> Arc<Target> {
        let inner = &self.inner;
        inner.targets.get(service, &inner.control, |service| {
            let (settings, registry) = (Arc::clone(&inner.settings), Arc::clone(&inner.registry));
            let (control, dialer) = (inner.control.clone(), inner.dialer.clone());
            let meters = Arc::clone(&inner.meters);
            Target::new(service, settings, registry, control, dialer, meters)
        })
    }

    /// Asks the registry for the names of all services, sorted.
    ///
    /// # Errors
    ///
    /// What the registry answers; it is not asked again.
    pub async fn services(&self) -> micro_registry::Result<Vec<String>> {
        let registry = Arc::clone(&self.inner.registry);
        self.inner
            .control
            .call(async move { registry.list_services().await })
            .await
    }

    /// Asks the registry for the nodes of `service`, past what channels have cached.
    ///
    /// # Errors
    ///
    /// What the registry answers; it is not asked again.
    pub async fn snapshot(&self, service: &str) -> micro_registry::Result<Snapshot> {
        let (registry, service) = (Arc::clone(&self.inner.registry), service.to_owned());
        self.inner
            .control
            .call(async move { registry.get_service(&service).await })
            .await
    }

    /// Follows the nodes of `service` as the registry tells of them: those there are first, then all of them at each change.
    ///
    /// It ends with its first error, as [`Registry::watch`](micro_registry::Registry::watch) says; whoever still cares watches
    /// again. Channels do so by themselves; this is for those who show nodes rather than call them.
    ///
    /// # Errors
    ///
    /// What the registry answers; it is not asked again.
    pub async fn watch(&self, service: &str) -> micro_registry::Result<Watcher> {
        let (registry, service) = (Arc::clone(&self.inner.registry), service.to_owned());
        self.inner
            .control
            .call(async move { registry.watch(&service).await })
            .await
    }

    /// Opens a stream of bytes to `node` as calls do, for what it tells beside them, such as its page `/metrics`: to an address
    /// that was checked, and over TLS where that is spoken. The caller bounds the time.
    ///
    /// # Errors
    ///
    /// Why no connection could be made; [`PermissionDenied`](io::ErrorKind::PermissionDenied) where the node may not be
    /// called.
    pub async fn connect(&self, node: &Node) -> io::Result<Box<dyn Io>> {
        let (io, _scheme) = self.inner.dialer.dial(node).await?;
        Ok(io)
    }

    /// The name of the registry, as `MICRO_REGISTRY` has it.
    #[must_use]
    pub fn registry_name(&self) -> &'static str {
        self.inner.registry.name()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("registry", &self.registry_name())
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}
