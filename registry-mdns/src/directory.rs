//! All nodes that are announced at the moment, as far as this handle has heard.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use mdns_sd::ResolvedService;
use micro_registry::{Error, ErrorKind, Node, ServiceName, Snapshot};
use tokio::time::Instant;

use crate::{
    daemon::Daemon,
    record::{self, Record, Stamp},
};

/// The most instances that are kept: mDNS serves a few hundred of a type (RFC 6762 §7.2), and any host may invent more.
pub(crate) const INSTANCES_MAX: usize = 500;
/// How often each known instance of a service that somebody cares for is asked whether it is still there.
pub(crate) const VERIFY_INTERVAL: Duration = Duration::from_secs(20);
/// How long a withdrawn instance stays unheard: its goodbye may cross with announcements of it.
const WITHDRAWN_WAIT: Duration = Duration::from_secs(10);

/// What is known, and how far the asking has come. Changes of it wake whoever waits for it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) phase: Phase,
    pub(crate) queries: Queries,
    instances: HashMap<String, Instance>,
    withdrawn: HashMap<String, Instant>,
    listings: BTreeMap<ServiceName, Listing>,
    /// When a node last came, changed or went.
    changed: Instant,
    generation: u32,
}

/// Whether there is a daemon to ask.
#[derive(Clone, Debug)]
pub(crate) enum Phase {
    /// Finding out whether multicast works.
    Connecting,
    /// Asking and listening, since then.
    Running(Daemon, Instant),
    /// Over; whoever still cares connects again.
    Failed(Failure),
}

/// Why it is over. Everybody who waits gets an error of their own.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<Error>);

/// The questions that were sent since the browse began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Queries {
    count: u32,
    first: Option<Instant>,
    last: Option<Instant>,
}

/// One announced instance, by its DNS name.
#[derive(Debug)]
struct Instance {
    /// `None` while its text is missing or what it says is no node.
    record: Option<Entry>,
    /// When to ask it whether it is still there.
    due: Instant,
    generation: u32,
}

#[derive(Debug)]
struct Entry {
    node: Arc<Node>,
    stamp: Stamp,
}

/// The nodes of one service.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) snapshot: Snapshot,
    pub(crate) changed: Instant,
}

/// What hearing an instance led to.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The directory has changed.
    Changed,
    /// Nothing new.
    Known,
    /// It is skipped; this is said once for each text.
    Refused(Error),
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            queries: Queries::default(),
            instances: HashMap::new(),
            withdrawn: HashMap::new(),
            listings: BTreeMap::new(),
            changed: Instant::now(),
            generation: 0,
        }
    }

    /// Takes in what was resolved.
    pub(crate) fn hear(&mut self, service: &ResolvedService) -> Heard {
        let name = service.get_fullname();
        if self.withdrawn.contains_key(name) {
            return Heard::Known;
        }
        let full = self.instances.len() >= INSTANCES_MAX;
        if full && !self.instances.contains_key(name) {
            let message = format!("there are more than {INSTANCES_MAX} instances; mDNS is made for fewer");
            return Heard::Refused(Error::new(ErrorKind::Protocol, message));
        }
        let generation = self.generation;
        let known = self.instances.entry(name.to_owned()).or_insert(Instance {
            record: None,
            due: next_due(),
            generation,
        });
        known.generation = generation;
        match record::decode(service) {
            Ok(Some(record)) => self.put(name, record),
            Ok(None) => Heard::Known,
            // A node that was good stays as it was: a bad text says nothing of it.
            Err(error) => Heard::Refused(error),
        }
    }

    fn put(&mut self, name: &str, record: Record) -> Heard {
        let Some(instance) = self.instances.get_mut(name) else {
            return Heard::Known;
        };
        let old = instance.record.as_ref();
        if old.is_some_and(|old| old.stamp == record.stamp && *old.node == record.node) {
            return Heard::Known;
        }
        let new = Entry {
            node: Arc::new(record.node),
            stamp: record.stamp,
        };
        let service = new.node.service().clone();
        let old = instance.record.replace(new);
        if let Some(old) = old
            && *old.node.service() != service
        {
            self.list(old.node.service());
        }
        self.list(&service);
        Heard::Changed
    }

    /// Takes out the instance `name`; answers whether that changed anything.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.withdrawn.remove(name);
        let Some(Instance {
            record: Some(entry), ..
        }) = self.instances.remove(name)
        else {
            return false;
        };
        self.list(entry.node.service());
        true
    }

    /// Takes out what this handle withdrew itself, and does not hear it again.
    pub(crate) fn withdraw(&mut self, name: &str) -> bool {
        let changed = self.remove(name);
        let now = Instant::now();
        self.withdrawn
            .retain(|_, withdrawn| now.duration_since(*withdrawn) < WITHDRAWN_WAIT);
        self.withdrawn.insert(name.to_owned(), now);
        changed
    }

    /// Begins a round in which everything that is there is heard again.
    pub(crate) fn begin_round(&mut self) {
        self.generation += 1;
    }

    /// Takes out what was not heard since the round began; answers whether that changed anything.
    pub(crate) fn end_round(&mut self) -> bool {
        let gone: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.generation != self.generation)
            .map(|(name, _)| name.clone())
            .collect();
        let mut changed = false;
        for name in gone {
            changed |= self.remove(&name);
        }
        changed
    }

    /// The nodes of `service`, if there are any.
    pub(crate) fn listing(&self, service: &ServiceName) -> Option<&Listing> {
        self.listings.get(service)
    }

    /// The names of the services that have a node, sorted.
    pub(crate) fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.listings.keys()
    }

    /// When a node last came, changed or went.
    pub(crate) fn changed(&self) -> Instant {
        self.changed
    }

    /// The names of up to `count_max` instances of `wanted` services that are to be verified now.
    pub(crate) fn due(&mut self, wanted: impl Fn(&ServiceName) -> bool, count_max: usize) -> Vec<String> {
        let now = Instant::now();
        self.instances
            .iter_mut()
            .filter(|(_, instance)| instance.due <= now)
            .filter(|(_, instance)| {
                instance
                    .record
                    .as_ref()
                    .is_some_and(|entry| wanted(entry.node.service()))
            })
            .take(count_max)
            .map(|(name, instance)| {
                instance.due = next_due();
                name.clone()
            })
            .collect()
    }

    /// The names of the instances of `service`.
    pub(crate) fn names(&self, service: &ServiceName) -> Vec<String> {
        self.instances
            .iter()
            .filter(|(_, instance)| {
                instance
                    .record
                    .as_ref()
                    .is_some_and(|entry| entry.node.service() == service)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether the instance `name` is heard with this text.
    pub(crate) fn has(&self, name: &str, stamp: Stamp) -> bool {
        let instance = self.instances.get(name);
        instance.is_some_and(|instance| instance.record.as_ref().is_some_and(|entry| entry.stamp == stamp))
    }

    /// The longest announced instance under which another boot holds the id of `node`.
    pub(crate) fn rival(&self, node: &Node) -> Option<(&str, &Node, Stamp)> {
        self.instances
            .iter()
            .filter_map(|(name, instance)| Some((name, instance.record.as_ref()?)))
            .map(|(name, entry)| (name.as_str(), &*entry.node, entry.stamp))
            .filter(|(_, other, _)| other.service() == node.service() && other.id() == node.id())
            .filter(|(_, other, _)| other.boot() != node.boot())
            .min_by_key(|(_, other, stamp)| (*stamp, other.boot().to_owned()))
    }

    /// Makes the listing of `service` anew.
    fn list(&mut self, service: &ServiceName) {
        self.changed = Instant::now();
        let mut entries: Vec<_> = self
            .instances
            .values()
            .filter_map(|instance| instance.record.as_ref())
            .filter(|entry| entry.node.service() == service)
            .collect();
        if entries.is_empty() {
            self.listings.remove(service);
            return;
        }
        // A node that was killed and is back stands twice until its old announcement is gone: the newest counts.
        entries.sort_by(|a, b| (a.stamp, a.node.boot()).cmp(&(b.stamp, b.node.boot())));
        let listing = Listing {
            snapshot: Snapshot::new(entries.into_iter().map(|entry| Arc::clone(&entry.node))),
            changed: self.changed,
        };
        self.listings.insert(service.clone(), listing);
    }
}

/// A time within 20 s ± 20 % from now, so that not everybody asks at once.
fn next_due() -> Instant {
    let share = 0.8 + 0.4 * fastrand::f64();
    Instant::now() + VERIFY_INTERVAL.mul_f64(share)
}

impl Queries {
    /// Counts a question that is being sent.
    pub(crate) fn asked(&mut self) {
        let now = Instant::now();
        self.count += 1;
        self.first.get_or_insert(now);
        self.last = Some(now);
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }

    pub(crate) fn last(&self) -> Option<Instant> {
        self.last
    }
}

impl Failure {
    pub(crate) fn new(error: Error) -> Self {
        Self(Arc::new(error))
    }

    /// The failure as an error of its own.
    pub(crate) fn error(&self) -> Error {
        let error = Error::new(self.0.kind(), self.0.to_string());
        match std::error::Error::source(&*self.0) {
            Some(source) => error.with_source(source.to_string()),
            None => error,
        }
    }
}
