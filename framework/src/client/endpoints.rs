//! The control task of one service: turns snapshots into endpoints, connects ahead of calls, and publishes what is ready.

use std::{
    collections::BTreeMap,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use micro_registry::{Error, Node, ServiceName, Snapshot};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, warn};

use super::{
    connection::{Connection, Driver, Keepalive, Plan},
    connector::Connect,
    endpoint::Endpoint,
    follower::Discovered,
    methods::Methods,
    picker::{Known, Picker},
    settings::Settings,
    subset::Subset,
    target::Shared,
    times::FAR,
    unsent::chain,
};

/// Nodes that another program announced may end connections that ping more often than this (gRFC A8).
const FOREIGN_KEEPALIVE: Duration = Duration::from_secs(300);

/// The control task's state. Dropping it ends every connection once its last stream has ended.
#[derive(Debug)]
pub(super) struct Endpoints {
    service: ServiceName,
    settings: Arc<Settings>,
    connector: Arc<dyn Connect>,
    shared: Arc<Shared>,
    discovered: watch::Receiver<Discovered>,
    /// Random per client: gives each its own order of the nodes.
    client: u64,
    endpoints: BTreeMap<String, Endpoint>,
    connecting: JoinSet<(Key, io::Result<(Connection, Driver)>)>,
    driving: JoinSet<(Key, u64, hyper::Result<()>)>,
    connections_made: u64,
    /// The last snapshot that was applied.
    snapshot: Option<Snapshot>,
    methods: Arc<Methods>,
    registry_failure: Option<Arc<Error>>,
    connect_failure: Option<Arc<str>>,
}

/// Which start of which node a connection belongs to.
#[derive(Clone, Debug)]
struct Key {
    node: Arc<Node>,
}

impl Endpoints {
    pub(super) fn new(
        service: ServiceName,
        settings: Arc<Settings>,
        connector: Arc<dyn Connect>,
        shared: Arc<Shared>,
        discovered: watch::Receiver<Discovered>,
    ) -> Self {
        Self {
            service,
            settings,
            connector,
            shared,
            discovered,
            client: fastrand::u64(..),
            endpoints: BTreeMap::new(),
            connecting: JoinSet::new(),
            driving: JoinSet::new(),
            connections_made: 0,
            snapshot: None,
            methods: Arc::default(),
            registry_failure: None,
            connect_failure: None,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut followed = true;
        loop {
            let wake = self.next_wake();
            let sleep = async {
                match wake {
                    Some(wake) => time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.discovered.changed(), if followed => {
                    // Without a control runtime nobody follows any more: what is known stays in use.
                    followed = changed.is_ok();
                    self.discover();
                }
                Some(done) = self.connecting.join_next() => {
                    if let Ok((key, result)) = done {
                        self.connected(key, result);
                    }
                }
                Some(ended) = self.driving.join_next() => {
                    if let Ok((key, id, result)) = ended {
                        self.disconnected(&key, id, &result);
                    }
                }
                () = shared.attention.notified() => self.attend(),
                () = sleep => {}
            }
            self.drain_ready_events();
            self.expire_held();
            self.connect_wanted();
            self.publish();
        }
    }

    /// Takes in what else has happened already, so that a burst is published once.
    fn drain_ready_events(&mut self) {
        while let Some(done) = self.connecting.try_join_next() {
            if let Ok((key, result)) = done {
                self.connected(key, result);
            }
        }
        while let Some(ended) = self.driving.try_join_next() {
            if let Ok((key, id, result)) = ended {
                self.disconnected(&key, id, &result);
            }
        }
        self.attend();
    }

    fn discover(&mut self) {
        let discovered = self.discovered.borrow_and_update().clone();
        self.registry_failure = discovered.failure;
        if let Some(snapshot) = discovered.snapshot
            && self.snapshot.as_ref() != Some(&snapshot)
        {
            self.apply(&snapshot);
            self.snapshot = Some(snapshot);
        }
    }

    /// Makes the difference between what is known and `snapshot`.
    fn apply(&mut self, snapshot: &Snapshot) {
        self.methods = Methods::agreed(snapshot);
        let listed = self
            .endpoints
            .values()
            .filter(|endpoint| endpoint.held_until.is_none())
            .count();
        let missing =
            |endpoint: &Endpoint| endpoint.held_until.is_none() && snapshot.get(endpoint.node.id()).is_none();
        let gone = self
            .endpoints
            .values()
            .filter(|endpoint| missing(endpoint))
            .count();
        let doubtful = gone > 0 && (gone == listed || (gone >= 2 && gone * 2 > listed));
        let until = Instant::now() + self.settings.hold_down.min(FAR);
        let mut held = 0;
        self.endpoints.retain(|_, endpoint| {
            if !missing(endpoint) {
                return true;
            }
            let keep = doubtful && endpoint.is_ready();
            if keep {
                endpoint.held_until = Some(until);
                held += 1;
            }
            keep
        });
        if held > 0 {
            let (service, hold_down) = (&self.service, self.settings.hold_down);
            warn!(%service, gone, held, ?hold_down, "a snapshot lacks most nodes, those with a connection stay");
        }
        for node in snapshot.nodes() {
            let known = self
                .endpoints
                .get_mut(node.id())
                .is_some_and(|endpoint| endpoint.update(node));
            if !known {
                // A new node, or a new start under a known id: connections to the old one end with their streams.
                self.endpoints
                    .insert(node.id().to_owned(), Endpoint::new(Arc::clone(node), self.client));
            }
        }
    }

    /// Drops nodes that the registry has not listed again in time, or whose connection, which alone spoke for them, is
    /// closing.
    fn expire_held(&mut self) {
        let now = Instant::now();
        self.endpoints.retain(|_, endpoint| {
            endpoint
                .held_until
                .is_none_or(|until| until > now && endpoint.is_ready())
        });
    }

    /// Looks at what calls have found: connections that take no more streams, full nodes, servers of other services.
    fn attend(&mut self) {
        let now = Instant::now();
        for endpoint in self.endpoints.values_mut() {
            endpoint.retire_closing(now);
            if endpoint.flags.refused.swap(false, Ordering::Relaxed) {
                let (service, node, address) = (&self.service, endpoint.node.id(), endpoint.node.address());
                warn!(%service, node, %address, "the server there is another service");
                endpoint.refused(now);
            }
        }
    }

    /// Starts the connects that are due: ahead of calls to a subset, and to nodes that calls ask for by name.
    fn connect_wanted(&mut self) {
        let now = Instant::now();
        for id in self.shared.asked() {
            if let Some(endpoint) = self.endpoints.get_mut(&id) {
                endpoint.named(now);
            }
        }
        let subset = Subset::choose(&self.endpoints, self.settings.subset);
        subset.trim(&mut self.endpoints, now);
        for endpoint in self.endpoints.values_mut() {
            let wanted = subset.wants(endpoint, now);
            if endpoint.wants_connection(wanted, self.settings.connections_per_node, now) {
                self.connections_made += 1;
                let (id, node) = (self.connections_made, Arc::clone(&endpoint.node));
                let plan = plan(&self.settings, &self.connector, &node);
                self.connecting
                    .spawn(async move { (Key { node }, open(id, plan).await) });
            }
        }
    }

    fn connected(&mut self, key: Key, result: io::Result<(Connection, Driver)>) {
        let now = Instant::now();
        // The node may have gone, been restarted or turned out to be another service meanwhile: then the connection ends
        // here.
        let Some(endpoint) = self
            .endpoints
            .get_mut(key.node.id())
            .filter(|endpoint| key.is_of(endpoint) && endpoint.is_connecting())
        else {
            return;
        };
        match result {
            Ok((connection, driver)) => {
                debug!(service = %self.service, node = key.node.id(), address = %key.node.address(), "connected");
                let id = connection.id;
                endpoint.connected(Arc::new(connection), now);
                self.driving.spawn(async move { (key, id, driver.await) });
            }
            Err(error) => {
                endpoint.connect_failed(now);
                let failure = format!("`{}` at {}: {error}", key.node.id(), key.node.address());
                debug!(service = %self.service, failures = endpoint.failures, "connect failed: {failure}");
                self.connect_failure = Some(failure.into());
            }
        }
    }

    fn disconnected(&mut self, key: &Key, id: u64, result: &hyper::Result<()>) {
        let error = result.as_ref().err().map(|error| chain(error));
        debug!(service = %self.service, node = key.node.id(), error, "connection ended");
        let Some(endpoint) = self
            .endpoints
            .get_mut(key.node.id())
            .filter(|endpoint| key.is_of(endpoint))
        else {
            return;
        };
        endpoint.disconnected(id, Instant::now());
    }

    /// When the next backoff or hold-down ends.
    fn next_wake(&self) -> Option<Instant> {
        self.endpoints.values().filter_map(Endpoint::next_wake).min()
    }

    /// Publishes what is ready, if that is news: everybody who waits looks at it.
    fn publish(&mut self) {
        let ready: Box<[_]> = self.endpoints.values_mut().filter_map(Endpoint::ready).collect();
        let known = Known {
            snapshot: self.snapshot.clone(),
            registry_failure: self.registry_failure.clone(),
            connect_failure: self.connect_failure.clone(),
            pending: self.endpoints.values().any(|endpoint| !endpoint.is_ready()),
        };
        let picker = Picker {
            ready,
            methods: Arc::clone(&self.methods),
            known,
        };
        if !self.shared.picker().is_same(&picker) {
            self.shared.publish(picker);
        }
    }
}

impl Key {
    /// Whether `endpoint` is still the same start of the same node.
    fn is_of(&self, endpoint: &Endpoint) -> bool {
        endpoint.node.boot() == self.node.boot() && endpoint.node.address() == self.node.address()
    }
}

/// Connects; a connector that panics, which the panic hook reports, is one that failed.
async fn open(id: u64, plan: Plan) -> io::Result<(Connection, Driver)> {
    AssertUnwindSafe(Connection::open(id, plan))
        .catch_unwind()
        .await
        .unwrap_or_else(|_panic| Err(io::Error::other("the connector panicked")))
}

fn plan(settings: &Settings, connector: &Arc<dyn Connect>, node: &Node) -> Plan {
    let ours = !node.boot().is_empty();
    let interval = if ours {
        settings.keepalive_interval
    } else {
        settings.keepalive_interval.max(FOREIGN_KEEPALIVE)
    };
    Plan {
        connector: Arc::clone(connector),
        address: node.address().clone(),
        timeout: settings.connect_timeout,
        keepalive: Keepalive {
            interval: interval.min(FAR),
            timeout: settings.keepalive_timeout.min(FAR),
            while_idle: ours,
        },
    }
}
