//! The announcing side: what this handle announces, until when, and who else claims its ids.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mdns_sd::{IfKind, ServiceInfo};
use micro_registry::{Error, ErrorKind, Node, Result, ServiceName};
use tokio::time::{self, Instant};
use tracing::debug;

use crate::{
    answers,
    daemon::{Daemon, SERVICE_TYPE},
    directory::Directory,
    interfaces::Interfaces,
    record::{self, Record, Stamp},
    session::{Look, Shared, look},
};

/// How long an announcement may take to be heard by ourselves: mdns-sd repeats it after 1.1 s.
const HEARD_WAIT: Duration = Duration::from_secs(4);
/// After how many renewals an announcement is no longer new: of two that claimed an id at once, one has given way then.
const RENEWALS_MIN: u32 = 3;
/// The most letters of the service's name in the label of an instance; a DNS label has room for 63 in all.
const LABEL_NAME_MAX: usize = 40;

type Key = (ServiceName, String);

/// What is announced at the moment.
#[derive(Debug, Default)]
pub(crate) struct Announcer {
    announced: Mutex<HashMap<Key, Announcement>>,
}

#[derive(Clone, Debug)]
struct Announcement {
    record: Record,
    /// A label and a host name that nobody else has: two instances under one host name would vanish together.
    label: String,
    expires: Instant,
    /// How often it was renewed unchanged.
    renewals: u32,
}

impl Shared {
    /// Announces `node`, or renews that it is.
    pub(crate) async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let daemon = self.connected().await?;
        let resting = self.directory.borrow().listening.is_none();
        if resting && self.announcer.has(node) {
            return self.announcer.renew(node, ttl).map(drop);
        }
        let _listening = self.interest.hold();
        self.listen();
        answers::holders(&mut self.directory.subscribe()).await?;
        self.yield_to_rival(node, &daemon).await?;
        let announcement = self.announcer.renew(node, ttl)?;
        if self
            .directory
            .borrow()
            .has(&announcement.name(), announcement.record.stamp)
        {
            return Ok(());
        }
        daemon.announce(&announcement.info()?).await?;
        self.heard(&announcement).await
    }

    /// Withdraws `node`, and waits until everybody was told.
    pub(crate) async fn deregister(&self, node: &Node) -> Result<()> {
        let daemon = self.connected().await?;
        let Some(name) = self.announcer.take(node) else {
            return Ok(());
        };
        self.directory
            .send_if_modified(|directory| directory.withdraw(&name));
        daemon.withdraw(&name).await
    }

    /// Refuses a node whose id another boot holds; of two that announce it, the one that began earlier.
    async fn yield_to_rival(&self, node: &Node, daemon: &Daemon) -> Result<()> {
        let own = self.announcer.stamp(node)?;
        let rival = self.directory.borrow().rival(node).map(|(name, other, stamp)| {
            let earlier = own.is_none_or(|own| (stamp.since, other.boot()) < (own.since, node.boot()));
            (name.to_owned(), other.address().to_string(), earlier)
        });
        let Some((name, address, true)) = rival else {
            return Ok(());
        };
        // If it is dead, the next try finds it gone.
        daemon.verify(&name).await?;
        if own.is_some() {
            self.deregister(node).await?;
        }
        Err(held(node, &address))
    }

    async fn heard(&self, announcement: &Announcement) -> Result<()> {
        let name = announcement.name();
        let stamp = announcement.record.stamp;
        let there = |directory: &Directory| {
            if directory.has(&name, stamp) {
                Look::Is(())
            } else {
                Look::Wait
            }
        };
        match time::timeout(HEARD_WAIT, look(&mut self.directory.subscribe(), there)).await {
            Ok(heard) => heard,
            Err(elapsed) => {
                let reason = if self.directory.borrow().is_full() {
                    "there are too many instances"
                } else {
                    "the announcement does not arrive"
                };
                let message = format!(
                    "announce node `{}` by mDNS on {}: {reason}",
                    announcement.record.node.id(),
                    self.settings.interfaces
                );
                Err(Error::new(ErrorKind::Unavailable, message).with_source(elapsed))
            }
        }
    }
}

impl Announcer {
    /// Takes out what was not renewed in time, by its DNS names.
    pub(crate) fn expired(&self) -> Vec<String> {
        let now = Instant::now();
        let mut expired = Vec::new();
        self.announced().retain(|_, announcement| {
            let stays = announcement.expires > now;
            if !stays {
                expired.push(announcement.name());
            }
            stays
        });
        expired
    }

    /// Whether an announcement is so new that somebody may claim its id who did not hear of it.
    pub(crate) fn is_any_new(&self) -> bool {
        let announced = self.announced();
        announced
            .values()
            .any(|announcement| announcement.renewals < RENEWALS_MIN)
    }

    /// Whether `node` is announced just as it is.
    fn has(&self, node: &Node) -> bool {
        let announced = self.announced();
        announced
            .get(&key(node))
            .is_some_and(|own| own.record.node == slim(node))
    }

    /// The stamp of the announcement of `node`, if there is one.
    fn stamp(&self, node: &Node) -> Result<Option<Stamp>> {
        let announced = self.announced();
        let Some(own) = announced.get(&key(node)) else {
            return Ok(None);
        };
        if own.record.node.boot() != node.boot() {
            return Err(held(node, &own.record.node.address().to_string()));
        }
        Ok(Some(own.record.stamp))
    }

    /// Notes that `node` is announced for another `ttl`, and answers with what is to be announced.
    fn renew(&self, node: &Node, ttl: Duration) -> Result<Announcement> {
        let methods = node.methods().len();
        let node = slim(node);
        let expires = Instant::now() + ttl;
        let mut announced = self.announced();
        let mut new = match announced.get(&key(&node)) {
            Some(old) if old.record.node.boot() != node.boot() => {
                return Err(held(&node, &old.record.node.address().to_string()));
            }
            Some(old) => old.clone(),
            None => {
                if methods > 0 {
                    debug!(
                        id = node.id(),
                        methods, "mdns has no room for methods; they are left out"
                    );
                }
                Announcement::new(node.clone())
            }
        };
        new.expires = expires;
        new.renewals += 1;
        if new.record.node != node {
            new.record.node = node;
            new.record.stamp.revision += 1;
            new.renewals = 0;
        }
        announced.insert(key(&new.record.node), new.clone());
        Ok(new)
    }

    /// Takes out the announcement of `node`, unless another boot announces it, and answers with its DNS name.
    fn take(&self, node: &Node) -> Option<String> {
        let mut announced = self.announced();
        let key = key(node);
        if announced.get(&key)?.record.node.boot() != node.boot() {
            return None;
        }
        announced.remove(&key).map(|announcement| announcement.name())
    }

    fn announced(&self) -> MutexGuard<'_, HashMap<Key, Announcement>> {
        self.announced
            .lock()
            .expect("no panic while the announcements are locked")
    }
}

impl Announcement {
    fn new(node: Node) -> Self {
        // DNS names know no case, and mdns-sd repeats an announcement only under a name in lower case.
        let readable: String = node
            .service()
            .as_str()
            .to_ascii_lowercase()
            .replace(['.', '_'], "-")
            .chars()
            .take(LABEL_NAME_MAX)
            .collect();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let stamp = Stamp {
            since: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            revision: 0,
        };
        Self {
            record: Record { node, stamp },
            label: format!("{readable}-{:016x}", fastrand::u64(..)),
            expires: Instant::now(),
            renewals: 0,
        }
    }

    /// The DNS name of the instance.
    fn name(&self) -> String {
        format!("{}.{SERVICE_TYPE}", self.label)
    }

    fn info(&self) -> Result<ServiceInfo> {
        let node = &self.record.node;
        let host = format!("{}.local.", self.label);
        let properties = record::encode(&self.record)?;
        // No addresses: the daemon adds those of its interfaces, and follows them as they come and go.
        let none: &[IpAddr] = &[];
        let info = ServiceInfo::new(
            SERVICE_TYPE,
            &self.label,
            &host,
            none,
            node.address().port(),
            properties,
        );
        let mut info = info
            .map_err(|error| {
                let message = format!("announce node `{}` by mDNS", node.id());
                Error::new(ErrorKind::InvalidArgument, message).with_source(error)
            })?
            .enable_addr_auto();
        // Names are unique by chance, so that asking for a second whether they are taken is not needed.
        info.set_requires_probe(false);
        let interfaces = if node.address().is_loopback() {
            Interfaces::loopback_kinds()
        } else {
            vec![IfKind::All]
        };
        info.set_interfaces(interfaces);
        Ok(info)
    }
}

/// Refuses a node that does not fit into a TXT record.
pub(crate) fn check(node: &Node) -> Result<()> {
    Announcement::new(slim(node)).info().map(drop)
}

fn key(node: &Node) -> Key {
    (node.service().clone(), node.id().to_owned())
}

/// The node without its methods, for which a TXT record has no room.
fn slim(node: &Node) -> Node {
    node.clone().without_methods()
}

fn held(node: &Node, address: &str) -> Error {
    let message = format!(
        "node id `{}` of `{}` is held by another boot, at {address}",
        node.id(),
        node.service()
    );
    Error::new(ErrorKind::Conflict, message)
}
