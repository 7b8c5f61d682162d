//! Looks at all services for as long as somebody looks at the page.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use micro::Client;
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Duration, Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::sight::{Service, Sight};

/// How often the page may get something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How often it gets something although nothing is new, so that it knows that it is connected.
const SIGN_INTERVAL: Duration = Duration::from_secs(2);
/// How often the registry is asked which services there are.
const SERVICES_INTERVAL: Duration = Duration::from_secs(2);
/// How long it may take to answer.
const SERVICES_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a service whose watch has ended is left alone.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// How many services are followed and shown.
const SERVICES_MAX: usize = 200;

/// What the page gets: JSON on one line.
pub(super) type Shown = Arc<str>;

/// The services, looked at until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    shown: watch::Receiver<Shown>,
    task: JoinHandle<()>,
}

type Services = Arc<Mutex<BTreeMap<String, Service>>>;

impl Watch {
    /// Looks at the services that `client` finds; it is the client's own view of those that are `exported`.
    pub(super) fn start(client: Client, exported: Vec<String>) -> Self {
        let (sender, shown) = watch::channel(Shown::from(""));
        let task = tokio::spawn(Looking::new(client, exported).run(sender));
        Self { shown, task }
    }

    /// What is shown, from now on; empty before the first look.
    pub(super) fn shown(&self) -> watch::Receiver<Shown> {
        self.shown.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Looking {
    client: Client,
    exported: Vec<String>,
    services: Services,
    tasks: JoinSet<()>,
    registry: watch::Receiver<Listing>,
    /// The task that asks the registry.
    _lister: JoinSet<()>,
}

/// The services of the registry, as far as it says.
#[derive(Clone, Debug, Default)]
struct Listing {
    names: Vec<String>,
    error: Option<String>,
}

impl Looking {
    fn new(client: Client, exported: Vec<String>) -> Self {
        let (sender, registry) = watch::channel(Listing::default());
        let mut lister = JoinSet::new();
        lister.spawn(list(client.clone(), sender));
        Self {
            client,
            exported,
            services: Services::default(),
            tasks: JoinSet::new(),
            registry,
            _lister: lister,
        }
    }

    async fn run(mut self, publish: watch::Sender<Shown>) {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut before, mut told): (Option<Sight>, _) = (None, Instant::now());
        loop {
            looks.tick().await;
            let sight = self.look();
            let is_news = before.as_ref().is_none_or(|before| !before.is_like(&sight));
            if !is_news && told.elapsed() < SIGN_INTERVAL {
                continue;
            }
            match serde_json::to_string(&sight) {
                Ok(json) => publish.send_replace(json.into()),
                Err(error) => return tracing::error!(%error, "the dashboard cannot be written as JSON"),
            };
            (before, told) = (Some(sight), Instant::now());
        }
    }

    fn look(&mut self) -> Sight {
        let listing = self.registry.borrow_and_update().clone();
        let wanted = self.exported.iter().chain(&listing.names);
        let all: std::collections::BTreeSet<_> = wanted.cloned().collect();
        let mut services = self.services.lock().expect("no panic while it is locked");
        for name in all.iter().take(SERVICES_MAX) {
            if services.contains_key(name) {
                continue;
            }
            let is_exported = self.exported.contains(name);
            services.insert(name.clone(), Service::new(name, is_exported));
            let (client, name, services) = (self.client.clone(), name.clone(), Arc::clone(&self.services));
            if is_exported {
                self.tasks.spawn(follow_calls(client, name, services));
            } else {
                self.tasks.spawn(follow_listing(client, name, services));
            }
        }
        let shown = services.values().filter(|service| {
            // One that nobody lists any more is followed for when it comes back, and not shown.
            service.exported || !service.nodes.is_empty() || listing.names.contains(&service.name)
        });
        Sight {
            version: env!("CARGO_PKG_VERSION"),
            registry: self.client.registry_name(),
            registry_error: listing.error,
            services: shown.cloned().collect(),
            left_out: all.len().saturating_sub(SERVICES_MAX),
        }
    }
}

/// Asks the registry, again and again, which services there are.
async fn list(client: Client, publish: watch::Sender<Listing>) {
    loop {
        let error = match timeout(SERVICES_TIMEOUT, client.services()).await {
            Ok(Ok(names)) => {
                publish.send_replace(Listing { names, error: None });
                None
            }
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some(format!("no answer within {SERVICES_TIMEOUT:?}")),
        };
        // What it said last stays.
        publish.send_modify(|listing| listing.error = error);
        sleep(SERVICES_INTERVAL).await;
    }
}

/// Looks at a service as calls do, again and again. The client knows: no registry is asked.
async fn follow_calls(client: Client, name: String, services: Services) {
    let channel = client.channel(&name);
    loop {
        match channel.status().await {
            Ok(status) => put(&services, Service::of_client(&name, &status)),
            Err(status) => fail(&services, &name, status.message()),
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Follows what the registry says of a service that is not called.
async fn follow_listing(client: Client, name: String, services: Services) {
    loop {
        let error = match client.watch(&name).await {
            Ok(mut watcher) => loop {
                match watcher.next().await {
                    Some(Ok(snapshot)) => put(&services, Service::of_registry(&name, &snapshot)),
                    Some(Err(error)) => break chain(&error),
                    None => break "the registry has ended the watch".to_owned(),
                }
            },
            Err(error) => chain(&error),
        };
        fail(&services, &name, &error);
        sleep(RETRY_WAIT).await;
    }
}

fn put(services: &Services, service: Service) {
    let mut services = services.lock().expect("no panic while it is locked");
    services.insert(service.name.clone(), service);
}

/// Says what is wrong; what was known stays.
fn fail(services: &Services, name: &str, error: &str) {
    let mut services = services.lock().expect("no panic while it is locked");
    if let Some(service) = services.get_mut(name) {
        service.error = Some(error.to_owned());
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
