//! Builds a client: by value, with every default named, and every check in `build`.

use std::{fmt, sync::Arc, time::Duration};

use http::{Request, Response};
use micro_registry::{Address, Registry};
use tokio::runtime::Handle;
use tonic::{Status, body::Body};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    BoxService, Client,
    channel::UserLayer,
    connection::WINDOW_MAX,
    connector::{Connect, Connector},
    dialer::Dialer,
    meter::Recorder,
    policy::Policy,
    reach::Range,
    settings::Settings,
};
use crate::{Error, ErrorKind, Result, Telemetry, config::Loaded, control::Control, tls::ClientTls};

/// Builds a [`Client`].
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use micro::{Client, Policy, registry::Static};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let registry: Static = "greeter=127.0.0.1:9090".parse()?;
/// let client = Client::builder(Arc::new(registry))
///     .request_timeout(Duration::from_secs(1))
///     .policy(Policy::RoundRobin)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct ClientBuilder {
    registry: Arc<dyn Registry>,
    settings: Settings,
    connector: Option<Arc<dyn Connect>>,
    /// The first thing that is no range of addresses.
    mistake: Option<Error>,
    control: Option<Control>,
    layers: Vec<UserLayer>,
    recorder: Recorder,
}

impl ClientBuilder {
    pub(super) fn new(registry: Arc<dyn Registry>) -> Self {
        let (settings, layers) = (Settings::default(), Vec::new());
        Self {
            registry,
            settings,
            connector: None,
            mistake: None,
            control: None,
            layers,
            recorder: Recorder::Nobody,
        }
    }

    /// Lays what the file and the environment say over what code said.
    pub(crate) fn configured(mut self, loaded: &Loaded) -> Self {
        loaded.client(&mut self.settings);
        self
    }

    /// Shares a control runtime, as a service does with its client.
    pub(crate) fn with_control(mut self, control: Control) -> Self {
        self.control = Some(control);
        self
    }

    /// Records into the telemetry of a service, which keeps it up.
    pub(crate) fn with_telemetry(mut self, telemetry: Telemetry) -> Self {
        self.recorder = Recorder::OfService(telemetry);
        self
    }

    /// Counts and times calls, nodes and connections in `telemetry`. One client a recorder: gauges of two would overwrite
    /// each other. Default: a service's client records for the service's `/metrics`, and any other client nothing.
    pub fn telemetry(mut self, telemetry: &Telemetry) -> Self {
        self.recorder = Recorder::Own(telemetry.clone());
        self
    }

    /// Sets how long a unary call may take that says nothing itself. Default: 5 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.settings.request_timeout = timeout;
        self
    }

    /// Sets how long connecting to one node may take, up to its first HTTP/2 frame. Default: 1 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = timeout;
        self
    }

    /// Sets how long a node with a live connection is kept although the registry has lost all nodes, or more than half of
    /// those that it had within this time. Default: 60 s.
    pub fn hold_down(mut self, time: Duration) -> Self {
        self.settings.hold_down = time;
        self
    }

    /// Sets how many nodes of a large service are connected to ahead of calls. Default: 64.
    pub fn subset(mut self, nodes: usize) -> Self {
        self.settings.subset = nodes;
        self
    }

    /// Sets what decides which nodes of a large service are connected to: a client with the same seed has the same ones
    /// after a restart, and clients with different seeds load all nodes evenly. Default: the id of the service that the
    /// client is part of; of one that is part of none, chance.
    pub fn subset_seed(mut self, seed: impl Into<Arc<str>>) -> Self {
        self.settings.subset_seed = Some(seed.into());
        self
    }

    /// Sets how many connections a node may get when its limit of streams is reached. Default: 4.
    pub fn connections_per_node(mut self, connections: usize) -> Self {
        self.settings.connections_per_node = connections;
        self
    }

    /// Sets after how much silence a node is asked whether it is still there, and how long it may take to answer.
    /// Default: 10 s and 5 s.
    pub fn keepalive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.settings.keepalive_interval = interval;
        self.settings.keepalive_timeout = timeout;
        self
    }

    /// Sets how many bytes of one answer may wait in memory for whoever reads it; the node waits with more. What comes from
    /// far takes its time for each such portion. At most 2³¹ − 1. Default: 2 MiB.
    pub fn stream_window(mut self, bytes: u32) -> Self {
        self.settings.stream_window = bytes;
        self
    }

    /// Sets how a node is chosen. Default: [`Policy::LeastLoaded`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.settings.policy = policy;
        self
    }

    /// Sets how often a call is sent again, to another node, that perhaps ran and failed with `UNAVAILABLE`. Only calls of
    /// idempotent methods are, at most a fifth of all calls and ten a second besides, and never after the deadline.
    /// Default: 2. What certainly did not run always goes to another node, and is not counted.
    pub fn retries(mut self, retries: u32) -> Self {
        self.settings.retries = retries;
        self
    }

    /// Sets after which time without an answer a unary call of an idempotent method is sent to a second node, too; the
    /// first answer wins. It counts as one of the [`retries`](Self::retries). Default: never.
    pub fn hedge_delay(mut self, delay: Duration) -> Self {
        self.settings.hedge_delay = Some(delay);
        self
    }

    /// Sets the zone that this client is in: nodes whose metadata has it as `zone` come first, while they are ready and
    /// not much slower than the others. Default: none, all nodes are alike.
    pub fn zone(mut self, zone: impl Into<Arc<str>>) -> Self {
        self.settings.zone = Some(zone.into());
        self
    }

    /// Sets whether the client listens to the nodes' health (`grpc.health.v1.Health/Watch`, one stream a connection): a node
    /// that says that it does not serve gets no calls, unless most say so. Default: no; a node without the health service
    /// counts as one that serves.
    pub fn health_watch(mut self, watch: bool) -> Self {
        self.settings.health_watch = watch;
        self
    }

    /// Adds a layer that every call meets before it is sent; the first one added meets it first. Default: none.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<BoxService> + Send + Sync + 'static,
        L::Service:
            Service<Request<Body>, Response = Response<Body>, Error = Status> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
    {
        self.layers
            .push(Arc::new(move |service| BoxService::new(layer.layer(service))));
        self
    }

    /// Calls no node outside these addresses: `10.0.0.0/8`, `10.0.0.1`, or `loopback`, `private`, `link-local`,
    /// `multicast`, `unspecified`, `metadata`. Default: none are named, and nodes may be anywhere but where
    /// [`deny`](Self::deny) says.
    ///
    /// Of two ranges that hold an address the narrower decides. Names are resolved first, and for each connection anew.
    /// `loopback`, or a part of it, also makes such addresses callable where the registry's record is of another host, or
    /// the registry is on one, which they otherwise are not.
    pub fn allow<T: AsRef<str>>(mut self, ranges: impl IntoIterator<Item = T>) -> Self {
        let ranges = self.ranges(ranges);
        self.settings.reach.allow.extend(ranges);
        self
    }

    /// Calls no node at these addresses, written as for [`allow`](Self::allow). Default, and besides these: `link-local`,
    /// `multicast`, `unspecified` and `metadata`, where clouds hand out credentials; where the registry itself is, if the
    /// configuration says so; and loopback addresses of other hosts, as far as the registry tells whose they are.
    ///
    /// `loopback` is for services that run on hosts apart: a node that announces a loopback address is none of theirs.
    pub fn deny<T: AsRef<str>>(mut self, ranges: impl IntoIterator<Item = T>) -> Self {
        let ranges = self.ranges(ranges);
        self.settings.reach.deny.extend(ranges);
        self
    }

    /// Whether all loopback addresses in the registry are this host's: nobody else announces such addresses there. They are
    /// called then wherever the registry is and whatever it tells, but for those that [`deny`](Self::deny) has, or
    /// [`allow`](Self::allow) lacks. Default: false.
    pub fn own_loopback(mut self, is_own: bool) -> Self {
        self.settings.reach.own_loopback = is_own;
        self
    }

    fn ranges<T: AsRef<str>>(&mut self, texts: impl IntoIterator<Item = T>) -> Vec<Range> {
        let mut ranges = Vec::new();
        for text in texts {
            match text.as_ref().parse() {
                Ok(range) => ranges.push(range),
                Err(reason) => {
                    let error = || Error::config(format!("the client's addresses: {reason}"));
                    self.mistake.get_or_insert_with(error);
                }
            }
        }
        ranges
    }

    /// Says where the registry itself listens, which is no node.
    pub(crate) fn registry_at(mut self, addresses: Vec<Address>) -> Self {
        self.settings.reach.registry = addresses;
        self
    }

    /// Sets how connections are made. Default: TCP. What a host name means is then the connector's business, and so is
    /// whether that may be called.
    pub fn connector(mut self, connector: impl Connect) -> Self {
        self.connector = Some(Arc::new(connector));
        self
    }

    /// Sets the runtime on which the registry is called. Default: one thread of its own, so that a blocked worker of
    /// the caller's runtime blocks no discovery.
    pub fn control(mut self, handle: Handle) -> Self {
        self.control = Some(Control::on(handle));
        self
    }

    /// The client, checked. Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a limit of zero, for what is no range of addresses, and for files of TLS that cannot be used;
    /// [`ErrorKind::Server`] when the control thread cannot be started.
    pub fn build(self) -> Result<Client> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let settings = &self.settings;
        let limits = [
            ("request_timeout", settings.request_timeout.is_zero()),
            ("connect_timeout", settings.connect_timeout.is_zero()),
            ("keepalive interval", settings.keepalive_interval.is_zero()),
            ("keepalive timeout", settings.keepalive_timeout.is_zero()),
            ("subset", settings.subset == 0),
            ("connections_per_node", settings.connections_per_node == 0),
            ("stream_window", settings.stream_window == 0),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, zero)| *zero) {
            return Err(Error::config(format!(
                "the client's {name} is 0; allowed is more than that"
            )));
        }
        if settings.stream_window > WINDOW_MAX {
            return Err(Error::config(format!(
                "the client's stream_window is {}; allowed are at most {WINDOW_MAX} bytes",
                settings.stream_window
            )));
        }
        let control = match self.control {
            Some(control) => control,
            None => Control::start().map_err(|error| {
                Error::new(ErrorKind::Server, "start the control thread").with_source(error)
            })?,
        };
        let tls = self.settings.tls.as_ref().map(ClientTls::new).transpose()?;
        let (reach, name) = (self.settings.reach.clone(), self.registry.name());
        Ok(Client::new(
            self.registry,
            self.settings,
            control,
            Dialer::new(Connector::new(self.connector, reach, name), tls),
            self.layers.into(),
            self.recorder,
        ))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("registry", &self.registry.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
