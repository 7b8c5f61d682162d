//! All nodes that are announced at the moment, as far as this handle has heard.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use mdns_sd::ResolvedService;
use micro_registry::{Error, Node, ServiceName, Snapshot};
use tokio::time::Instant;

use crate::{
    phase::Phase,
    record::{self, Record, Stamp},
};

/// The most instances that are kept: mDNS serves a few hundred of a type (RFC 6762 §7.2), and any host may invent more.
pub(crate) const INSTANCES_MAX: usize = 500;
/// How often each known instance of a service that somebody cares for is asked whether it is still there.
pub(crate) const VERIFY_INTERVAL: Duration = Duration::from_secs(20);
/// How long a text may take to arrive behind the rest of its instance.
const TEXT_WAIT: Duration = Duration::from_secs(2);
/// How often everything is asked for anew because of one instance without a text.
const TEXT_ASKED_MAX: u32 = 2;
/// How long a withdrawn instance stays unheard: its goodbye may cross with announcements of it.
const WITHDRAWN_WAIT: Duration = Duration::from_secs(10);

/// What is known. Changes of it wake whoever waits for it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) phase: Phase,
    /// The numbers of the interfaces on which no other host is heard.
    pub(crate) loopback: Vec<u32>,
    /// Since when everything is listened to; not while nobody cares.
    pub(crate) listening: Option<Instant>,
    /// When everybody was first asked since then.
    pub(crate) asked: Option<Instant>,
    instances: HashMap<String, Instance>,
    /// Instances whose text has not arrived.
    textless: HashMap<String, Textless>,
    withdrawn: HashMap<String, Instant>,
    /// The nodes of each service that has any.
    listings: BTreeMap<ServiceName, Snapshot>,
    /// When a node last came, changed or went.
    changed: Instant,
    round: u32,
}

/// One announced node, by the DNS name of its instance.
#[derive(Debug)]
struct Instance {
    node: Arc<Node>,
    stamp: Stamp,
    /// When to ask it whether it is still there.
    due: Instant,
    /// The round in which it was last heard.
    round: u32,
}

#[derive(Debug)]
struct Textless {
    since: Instant,
    /// How often everything was asked for anew because of it.
    asked: u32,
}

/// What hearing an instance led to.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The directory has changed.
    Changed,
    /// Nothing new.
    Known,
    /// It is no node, and is skipped.
    Bad(Error),
    /// There is no room for it.
    Full,
}

impl Directory {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Connecting,
            loopback: Vec::new(),
            listening: None,
            asked: None,
            instances: HashMap::new(),
            textless: HashMap::new(),
            withdrawn: HashMap::new(),
            listings: BTreeMap::new(),
            changed: Instant::now(),
            round: 0,
        }
    }

    /// Takes in what was resolved.
    pub(crate) fn hear(&mut self, service: &ResolvedService) -> Heard {
        let name = service.get_fullname();
        if self.withdrawn.contains_key(name) {
            return Heard::Known;
        }
        if let Some(known) = self.instances.get_mut(name) {
            known.round = self.round;
        } else if self.is_full() {
            return Heard::Full;
        }
        match record::decode(service, &self.loopback) {
            Ok(Some(record)) => self.put(name, record),
            Ok(None) => self.lacks_text(name),
            // A node that was good stays as it was: a bad text says nothing of it.
            Err(error) => Heard::Bad(error),
        }
    }

    fn put(&mut self, name: &str, record: Record) -> Heard {
        self.textless.remove(name);
        let old = self.instances.get(name);
        if old.is_some_and(|old| old.stamp == record.stamp && *old.node == record.node) {
            return Heard::Known;
        }
        let new = Instance {
            node: Arc::new(record.node),
            stamp: record.stamp,
            due: old.map_or_else(next_due, |old| old.due),
            round: self.round,
        };
        let service = new.node.service().clone();
        if let Some(old) = self.instances.insert(name.to_owned(), new)
            && *old.node.service() != service
        {
            self.list(old.node.service());
        }
        self.list(&service);
        Heard::Changed
    }

    fn lacks_text(&mut self, name: &str) -> Heard {
        if !self.instances.contains_key(name) && self.textless.len() < INSTANCES_MAX {
            let textless = Textless {
                since: Instant::now(),
                asked: 0,
            };
            self.textless.entry(name.to_owned()).or_insert(textless);
        }
        Heard::Known
    }

    /// Whether there is an instance whose text is overdue; the answer is to ask for everything anew.
    pub(crate) fn misses_text(&mut self) -> bool {
        let mut misses = false;
        for textless in self.textless.values_mut() {
            if textless.since.elapsed() >= TEXT_WAIT && textless.asked < TEXT_ASKED_MAX {
                textless.asked += 1;
                misses = true;
            }
        }
        misses
    }

    /// Takes out the instance `name`; answers whether that changed anything.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.withdrawn.remove(name);
        self.textless.remove(name);
        let Some(instance) = self.instances.remove(name) else {
            return false;
        };
        self.list(instance.node.service());
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

    /// Forgets what was heard, until everything is listened to again.
    pub(crate) fn rest(&mut self) {
        self.listening = None;
        self.asked = None;
        self.instances.clear();
        self.textless.clear();
        self.listings.clear();
    }

    /// Begins a round in which everything that is there is heard again.
    pub(crate) fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Takes out what was not heard since the round began; answers whether that changed anything.
    pub(crate) fn end_round(&mut self) -> bool {
        let gone: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.round != self.round)
            .map(|(name, _)| name.clone())
            .collect();
        let mut changed = false;
        for name in gone {
            changed |= self.remove(&name);
        }
        changed
    }

    /// The nodes of `service`.
    pub(crate) fn nodes(&self, service: &ServiceName) -> Snapshot {
        self.listings
            .get(service)
            .cloned()
            .unwrap_or_else(Snapshot::empty)
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
            .filter(|(_, instance)| instance.due <= now && wanted(instance.node.service()))
            .take(count_max)
            .map(|(name, instance)| {
                instance.due = next_due();
                name.clone()
            })
            .collect()
    }

    /// The names of the instances of `wanted` services.
    pub(crate) fn names(&self, wanted: impl Fn(&ServiceName) -> bool) -> Vec<String> {
        self.instances
            .iter()
            .filter(|(_, instance)| wanted(instance.node.service()))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Whether there is no room for another instance.
    pub(crate) fn is_full(&self) -> bool {
        self.instances.len() >= INSTANCES_MAX
    }

    /// Whether the instance `name` is heard with this text.
    pub(crate) fn has(&self, name: &str, stamp: Stamp) -> bool {
        self.instances
            .get(name)
            .is_some_and(|instance| instance.stamp == stamp)
    }

    /// The longest announced instance under which another boot holds the id of `node`.
    pub(crate) fn rival(&self, node: &Node) -> Option<(&str, &Node, Stamp)> {
        self.instances
            .iter()
            .map(|(name, instance)| (name.as_str(), &*instance.node, instance.stamp))
            .filter(|(_, other, _)| other.service() == node.service() && other.id() == node.id())
            .filter(|(_, other, _)| other.boot() != node.boot())
            .min_by(|(_, a, a_stamp), (_, b, b_stamp)| (a_stamp, a.boot()).cmp(&(b_stamp, b.boot())))
    }

    /// Makes the listing of `service` anew.
    fn list(&mut self, service: &ServiceName) {
        self.changed = Instant::now();
        let mut instances: Vec<_> = self
            .instances
            .values()
            .filter(|instance| instance.node.service() == service)
            .collect();
        if instances.is_empty() {
            self.listings.remove(service);
            return;
        }
        // A node that was killed and is back stands twice until its old announcement is gone: the newest counts.
        instances.sort_by(|a, b| (a.stamp, a.node.boot()).cmp(&(b.stamp, b.node.boot())));
        let nodes = instances.into_iter().map(|instance| Arc::clone(&instance.node));
        self.listings.insert(service.clone(), Snapshot::new(nodes));
    }
}

/// A time within 20 s ± 20 % from now, so that not everybody asks at once.
fn next_due() -> Instant {
    let share = 0.8 + 0.4 * fastrand::f64();
    Instant::now() + VERIFY_INTERVAL.mul_f64(share)
}

#[cfg(test)]
mod tests;
