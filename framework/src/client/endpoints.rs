//! The control task of one service: turns snapshots into endpoints, connects ahead of calls, and publishes what is ready.

mod opening;
mod publish;

use std::{io, mem, sync::Arc, time::Duration};

use micro_registry::{Error, ServiceName, Snapshot};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{self, Instant},
};
use tracing::{debug, warn};

pub(super) use self::opening::Attempt;
use self::opening::{Key, drop_refused, open, plan};
use super::{
    census::Census,
    changes::Changes,
    connection::{Connection, Driver},
    dialer::Dialer,
    endpoint::Endpoint,
    follower::{Discovered, changed_after},
    health,
    meter::Meter,
    peak::Peak,
    row::Rows,
    settings::Settings,
    spot::{Lease, Spot},
    subset,
    table::{Id, Table},
    target::Shared,
    times::FAR,
    unsent::chain,
    views::Views,
};
use crate::control::Owned;

/// How far apart snapshots are taken in at least; connections that come and end are taken in at once.
const COALESCE: Duration = Duration::from_millis(50);

/// The control task's state. Dropping it ends every connection once its last stream has ended.
#[derive(Debug)]
pub(super) struct Endpoints {
    service: ServiceName,
    settings: Arc<Settings>,
    dialer: Dialer,
    shared: Arc<Shared>,
    meter: Arc<Meter>,
    discovered: watch::Receiver<Discovered>,
    /// Random per client: gives each its own order of the nodes.
    client: u64,
    table: Table,
    /// Where it stands what picks look at of the nodes.
    spots: Rows<Spot>,
    views: Views,
    connecting: JoinSet<(Key, io::Result<(Connection, Driver)>)>,
    driving: JoinSet<(Key, u64, io::Result<()>)>,
    connections_made: u64,
    /// The last snapshot that was applied.
    snapshot: Option<Snapshot>,
    /// When that was.
    discovered_at: Option<Instant>,
    /// When the registry said which nodes there are.
    snapshot_at: Option<Instant>,
    /// How large the snapshots before were.
    peak: Peak,
    /// Whether nodes or selections are new, so that selections may miss nodes.
    relisted: bool,
    census: Census,
    registry_failure: Option<Arc<Error>>,
    connect_failure: Option<Arc<str>>,
}

impl Endpoints {
    pub(super) fn new(
        service: ServiceName,
        settings: Arc<Settings>,
        dialer: Dialer,
        shared: Arc<Shared>,
        meter: Arc<Meter>,
        discovered: watch::Receiver<Discovered>,
    ) -> Self {
        let views = Views::new(service.clone(), &settings);
        let client = subset::client(settings.subset_seed.as_deref());
        Self {
            service,
            settings,
            dialer,
            shared,
            meter,
            discovered,
            client,
            table: Table::default(),
            spots: Rows::default(),
            views,
            connecting: JoinSet::new(),
            driving: JoinSet::new(),
            connections_made: 0,
            snapshot: None,
            discovered_at: None,
            snapshot_at: None,
            peak: Peak::default(),
            relisted: false,
            census: Census::default(),
            registry_failure: None,
            connect_failure: None,
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut followed = true;
        let mut wake = None;
        loop {
            let earliest = self.discovered_at.map(|at| at + COALESCE);
            let sleep = async {
                match wake {
                    Some(wake) => time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = changed_after(&mut self.discovered, earliest), if followed => {
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
            wake = self.connect_wanted();
            self.publish();
            self.answer_inquiries();
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
        let now = Instant::now();
        self.discovered_at = Some(now);
        if discovered.failure.is_none() {
            self.snapshot_at = Some(now);
        }
        self.meter.discovered(discovered.failure.is_some());
        self.registry_failure = discovered.failure;
        if let Some(snapshot) = discovered.snapshot {
            self.apply(snapshot);
        }
    }

    /// Takes in what is different from the last snapshot.
    fn apply(&mut self, snapshot: Snapshot) {
        let before = self.snapshot.clone().unwrap_or_else(Snapshot::empty);
        let changes = Changes::between(&before, &snapshot);
        if changes.is_empty() && self.snapshot.is_some() {
            return;
        }
        for (before, node) in &changes.listed {
            self.census.enter(node);
            before.iter().for_each(|before| self.census.leave(before));
            let known = self.table.change(node.id(), |endpoint| endpoint.update(node));
            if known != Some(true) {
                // A new node, or a new start under a known id: connections to the old one end with their streams.
                let spot = self.spots.next();
                self.table
                    .insert(Endpoint::new(Arc::clone(node), self.client, spot));
            }
        }
        let gone = &changes.gone;
        let (now, hold_down) = (Instant::now(), self.settings.hold_down.min(FAR));
        self.peak.replaced(before.len(), now);
        // Nodes that go one by one are looked at together: each of them alone would be believed, down to the last.
        let peak = self.peak.within(hold_down, now);
        let doubtful = gone.len() == before.len()
            || is_most(gone.len(), before.len())
            || is_most(peak.saturating_sub(snapshot.len()), peak);
        let mut held = 0;
        for node in gone {
            self.census.leave(node);
            let keep = self.table.change(node.id(), |endpoint| {
                let keep = doubtful && endpoint.is_ready();
                endpoint.held_until = keep.then_some(now + hold_down);
                keep
            });
            match keep {
                Some(true) => held += 1,
                _ => self.table.remove(node.id()),
            }
        }
        if held > 0 {
            let (service, gone) = (&self.service, gone.len());
            warn!(%service, gone, held, ?hold_down, "most nodes are gone of late, those with a connection stay");
        }
        self.snapshot = Some(snapshot);
        self.relisted = true;
    }

    /// Drops nodes that the registry has not listed again in time, or whose connection, which alone spoke for them, is
    /// closing, or that say themselves that they do not serve.
    fn expire_held(&mut self) {
        let now = Instant::now();
        let expired = |id: &&Id| {
            let endpoint = self.table.get(id);
            endpoint.is_none_or(|held| {
                held.held_until.is_none_or(|until| until <= now)
                    || !held.is_ready()
                    || held.is_out_of_service()
            })
        };
        for id in self.table.held().filter(expired).cloned().collect::<Vec<_>>() {
            self.table.remove(&id);
        }
    }

    /// Looks at what calls have found: connections that take no more streams, full nodes, servers of other services.
    fn attend(&mut self) {
        let now = Instant::now();
        for id in self.table.find_connected(Endpoint::wants_attention) {
            self.table.change(&id, |endpoint| {
                endpoint.retire_closing(now);
                drop_refused(&self.service, endpoint, now);
                endpoint.doubt_silence(now);
                if endpoint.eject_outlier(now) {
                    self.meter.ejections.increment(1);
                    let (service, node) = (&self.service, endpoint.node.id());
                    warn!(%service, node, "calls in a row failed, the node is left out for a while");
                }
            });
        }
    }

    /// Starts the connects that are due, ahead of calls to a subset, and to nodes that calls ask for by name, and lets go
    /// of what stood in for others. Says when the next backoff or hold-down ends.
    fn connect_wanted(&mut self) -> Option<Instant> {
        let now = Instant::now();
        for id in self.shared.asked() {
            self.table.change(&id, |endpoint| endpoint.named(now));
        }
        let size = self.settings.subset;
        for selection in self.shared.asked_selections() {
            self.views.add(selection);
            self.relisted = true;
        }
        if mem::take(&mut self.relisted) && self.table.len() > size {
            self.views.look_ahead(&self.table, size);
        }
        if self.table.len() <= size {
            // Most are connected and have nothing due.
            let due = self.table.find(|endpoint| !endpoint.is_at_rest());
            return due.iter().filter_map(|id| self.connect(id, true, now)).min();
        }
        for id in self.table.named().cloned().collect::<Vec<_>>() {
            self.table.change(&id, |endpoint| endpoint.forget_name(now));
        }
        let mut wanted = self.table.wanted(size);
        wanted.extend(self.views.ahead().cloned());
        // Others stand in only for as long as one of those is missing, so that a fault does not leave a client with
        // connections to all nodes of a large service.
        let mut present = self.table.present(size);
        let all_present = present.all(|id| self.table.get(id).is_some_and(Endpoint::is_ready));
        drop(present);
        let others = self.table.connected().filter(|id| !wanted.contains(*id));
        let others: Vec<_> = others.cloned().collect();
        let mut wake = None;
        for id in others {
            if all_present {
                self.table.change(&id, Endpoint::rest_unless_held);
            }
            wake = wake.into_iter().chain(self.connect(&id, false, now)).min();
        }
        let wakes = wanted.iter().filter_map(|id| self.connect(id, true, now));
        wakes.chain(wake).min()
    }

    /// Connects to a node, if it is time. Says when something is due without anything happening.
    fn connect(&mut self, id: &Id, wanted: bool, now: Instant) -> Option<Instant> {
        let connections_max = self.settings.connections_per_node;
        let (starts, wake) = self.table.change(id, |endpoint| {
            let starts = endpoint.wants_connection(wanted, connections_max, now);
            let starts = starts.then(|| {
                (
                    Arc::clone(&endpoint.node),
                    Lease::new(&endpoint.spot, &mut self.spots),
                )
            });
            (starts, endpoint.next_wake(now))
        })?;
        if let Some((node, streams)) = starts {
            self.connections_made += 1;
            let room = Arc::clone(&self.shared.room);
            let plan = plan(&self.settings, &self.dialer, &node, streams, room);
            let opening = open(self.connections_made, plan);
            let opening = async move { (Key { node }, opening.await) };
            let attempt = Attempt(self.connecting.spawn(opening));
            self.table.change(id, |endpoint| endpoint.attempt = Some(attempt));
        }
        wake
    }

    fn connected(&mut self, key: Key, result: io::Result<(Connection, Driver)>) {
        let now = Instant::now();
        // The node may have gone, been restarted or turned out to be another service meanwhile: then the connection ends
        // here.
        let is_awaited = |endpoint: &Endpoint| key.is_of(endpoint) && endpoint.is_connecting();
        if !self.table.get(key.node.id()).is_some_and(is_awaited) {
            return;
        }
        let (service, node, address) = (&self.service, key.node.id(), key.node.address());
        match result {
            Ok((connection, driver)) => {
                debug!(%service, node, %address, "connected");
                self.meter.opened_connections.increment(1);
                let (id, connection) = (connection.id, Arc::new(connection));
                self.table.change(node, |endpoint| {
                    let health = self.settings.health_watch.then(|| {
                        let (node, flags) = (Arc::clone(&endpoint.node), Arc::clone(&endpoint.flags));
                        let (connection, shared) = (Arc::clone(&connection), Arc::clone(&self.shared));
                        Owned(tokio::spawn(health::watch(connection, node, flags, shared)))
                    });
                    endpoint.connected(connection, health, now);
                });
                // In a task of its own: streams that are open when the client goes are carried to their end.
                let driving = tokio::spawn(driver);
                self.driving.spawn(async move {
                    let ended = driving.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
                    (key, id, ended)
                });
            }
            Err(error) => {
                self.meter.connect_failed(&error);
                let failures = self.table.change(node, |endpoint| {
                    endpoint.connect_failed(now);
                    endpoint.set_last_error(format!("connect: {error}"), now);
                    endpoint.failures
                });
                let failure = format!("`{node}` at {address}: {error}");
                debug!(%service, failures, "connect failed: {failure}");
                self.connect_failure = Some(failure.into());
            }
        }
    }

    fn disconnected(&mut self, key: &Key, id: u64, result: &io::Result<()>) {
        let error = result.as_ref().err().map(|error| chain(error));
        debug!(service = %self.service, node = key.node.id(), error = error.as_deref(), "connection ended");
        let now = Instant::now();
        self.table.change(key.node.id(), |endpoint| {
            if key.is_of(endpoint) {
                if let Some(error) = &error {
                    endpoint.set_last_error(error.as_str(), now);
                }
                endpoint.disconnected(id, now);
                drop_refused(&self.service, endpoint, now);
            }
        });
    }
}

/// Whether `lost` nodes of `all` are so many that they are rather the registry's loss than the nodes' end.
fn is_most(lost: usize, all: usize) -> bool {
    lost >= 2 && lost * 2 > all
}

#[cfg(test)]
mod tests;
