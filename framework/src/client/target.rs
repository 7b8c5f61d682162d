//! One service as a client sees it: the follower, the control task, and what calls pick from.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, OnceLock},
};

use arc_swap::ArcSwap;
use http::HeaderValue;
use micro_registry::{Registry, ServiceName};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
    time,
};
use tonic::Status;

use super::{
    budget::Budget,
    dialer::Dialer,
    endpoints::Endpoints,
    follower::{self, Discovered},
    meter::{Meter, Meters},
    picker::Picker,
    room::Room,
    selection::Selection,
    settings::Settings,
    status::ServiceStatus,
    times::FAR,
    unsent::chain,
};
use crate::control::{Control, Owned};

/// How many nodes calls may ask for by name between two turns of the control task.
const ASKED_MAX: usize = 1024;

/// One service as a client sees it. The first call starts following; dropping it ends everything.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) service: ServiceName,
    /// The name as every request carries it.
    pub(super) service_header: HeaderValue,
    pub(super) settings: Arc<Settings>,
    pub(super) budget: Budget,
    pub(super) meter: Arc<Meter>,
    /// Channels may outlive their client, and are told of until they end.
    _meters: Arc<Meters>,
    pub(super) shared: Arc<Shared>,
    pub(super) registry: Arc<dyn Registry>,
    control: Control,
    dialer: Dialer,
    running: OnceLock<Running>,
}

/// Where the control task and the calls meet.
#[derive(Debug, Default)]
pub(super) struct Shared {
    picker: ArcSwap<Picker>,
    published: watch::Sender<u64>,
    /// Wakes the control task: a call has found something.
    pub(super) attention: Notify,
    /// Where calls wait that found every connection full.
    pub(super) room: Arc<Room>,
    asked: Mutex<BTreeSet<String>>,
    asked_selections: Mutex<Vec<Arc<Selection>>>,
    inquiries: Mutex<Vec<Inquiry>>,
}

/// Where the control task says what it knows of each node.
type Inquiry = oneshot::Sender<ServiceStatus>;

/// The tasks of a service; dropping stops them.
#[derive(Debug)]
struct Running {
    _follower: Owned<()>,
    _endpoints: Owned<()>,
}

impl Target {
    pub(super) fn new(
        service: ServiceName,
        settings: Arc<Settings>,
        registry: Arc<dyn Registry>,
        control: Control,
        dialer: Dialer,
        meters: Arc<Meters>,
    ) -> Self {
        let service_header =
            HeaderValue::from_str(service.as_str()).expect("a service name is letters, digits and marks");
        let (shared, running) = (Arc::default(), OnceLock::new());
        let meter = meters.get(&service);
        meter.watch(&shared);
        Self {
            service,
            service_header,
            settings,
            budget: Budget::new(meter.budget_exhausted.clone()),
            meter,
            _meters: meters,
            shared,
            registry,
            control,
            dialer,
            running,
        }
    }

    /// Follows the service from now on. Connections live on the runtime that calls this first.
    pub(super) fn start(&self) {
        self.running.get_or_init(|| {
            let (sender, discovered) = watch::channel(Discovered::default());
            let follower = follower::follow(Arc::clone(&self.registry), self.service.clone(), sender);
            let endpoints = Endpoints::new(
                self.service.clone(),
                Arc::clone(&self.settings),
                self.dialer.clone(),
                Arc::clone(&self.shared),
                Arc::clone(&self.meter),
                discovered,
            );
            Running {
                _follower: self.control.spawn(follower),
                _endpoints: Owned(Handle::current().spawn(endpoints.run())),
            }
        });
    }
}

impl Target {
    /// What is known of the service, once the registry has answered.
    pub(super) async fn status(&self) -> Result<ServiceStatus, Status> {
        self.start();
        let timeout = self.settings.request_timeout.min(FAR);
        let silent = || {
            let (registry, service) = (self.registry.name(), &self.service);
            let failure = self.shared.picker().known.registry_failure.clone();
            let cause = failure.map(|failure| format!(": {}", chain(&*failure)));
            let cause = cause.unwrap_or_default();
            let message =
                format!("{registry} did not say within {timeout:?} which nodes `{service}` has{cause}");
            Status::unavailable(message)
        };
        let mut published = self.shared.subscribe();
        let known = published.wait_for(|_| self.shared.picker().known.snapshot.is_some());
        time::timeout(timeout, known)
            .await
            .map_err(|_elapsed| silent())?
            .map_err(|_stopped| silent())?;
        let stopped = |_| Status::unavailable(format!("the client of `{}` has stopped", self.service));
        self.shared.inquire().await.map_err(stopped)
    }
}

impl Shared {
    pub(super) fn picker(&self) -> arc_swap::Guard<Arc<Picker>> {
        self.picker.load()
    }

    /// Tells of the next picker that is published.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.published.subscribe()
    }

    pub(super) fn publish(&self, picker: Picker) {
        self.picker.store(Arc::new(picker));
        self.published.send_modify(|version| *version += 1);
    }

    /// Asks for a connection to a node that may be outside the subset.
    pub(super) fn ask(&self, node: &str) {
        let mut asked = self.asked.lock().expect("no panic while the set is locked");
        if asked.len() < ASKED_MAX && asked.insert(node.to_owned()) {
            self.attention.notify_one();
        }
    }

    /// Takes what was asked for since the last time.
    pub(super) fn asked(&self) -> BTreeSet<String> {
        mem::take(&mut *self.asked.lock().expect("no panic while the set is locked"))
    }

    /// Asks for what calls of this selection pick from.
    pub(super) fn ask_selection(&self, selection: &Arc<Selection>) {
        let mut asked = self
            .asked_selections
            .lock()
            .expect("no panic while the list is locked");
        if asked.len() < ASKED_MAX && !asked.contains(selection) {
            asked.push(Arc::clone(selection));
            self.attention.notify_one();
        }
    }

    /// Takes what was asked for since the last time.
    pub(super) fn asked_selections(&self) -> Vec<Arc<Selection>> {
        let mut asked = self.asked_selections.lock();
        mem::take(asked.as_mut().expect("no panic while the list is locked"))
    }

    /// Asks the control task what it knows.
    pub(super) fn inquire(&self) -> oneshot::Receiver<ServiceStatus> {
        let (inquiry, answer) = oneshot::channel();
        let mut inquiries = self.inquiries.lock();
        let inquiries = inquiries.as_mut().expect("no panic while the list is locked");
        // Who is one too many hears at once that nobody answers.
        if inquiries.len() < ASKED_MAX {
            inquiries.push(inquiry);
            self.attention.notify_one();
        }
        answer
    }

    /// Takes the inquiries since the last time.
    pub(super) fn inquiries(&self) -> Vec<Inquiry> {
        let mut inquiries = self.inquiries.lock();
        mem::take(inquiries.as_mut().expect("no panic while the list is locked"))
    }
}
