//! The announcing side: each node is a key of its own, which goes with the lease that it stands under.

mod entry;
mod lease;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Node, Result};
use tokio::join;

use self::{
    entry::{Entry, Found, Put},
    lease::Lease,
};
use crate::{connection::Connection, keys::Keys, record};

/// How often a node is put while others change its key at the same time.
const PUTS_MAX: usize = 4;

/// Announces nodes, and remembers what it put for them.
pub(crate) struct Announcer {
    connection: Arc<Connection>,
    keys: Keys,
    held: Mutex<HashMap<String, Held>>,
}

/// What this handle holds of a node. It may be less than etcd does: a call that was cut off may have arrived.
#[derive(Clone)]
struct Held {
    boot: String,
    ttl: Duration,
    lease: Arc<Lease>,
    stored: Option<Stored>,
}

/// What was put, and the revision at which it was.
#[derive(Clone)]
struct Stored {
    value: Arc<[u8]>,
    revision: i64,
}

/// A node to announce, as etcd is to have it.
struct Announcement<'a> {
    node: &'a Node,
    ttl: Duration,
    value: Arc<[u8]>,
    entry: Entry<'a>,
}

impl Announcer {
    pub(crate) fn new(connection: Arc<Connection>, keys: Keys) -> Self {
        Self {
            connection,
            keys,
            held: Mutex::default(),
        }
    }

    /// Announces `node`, or renews that it is.
    pub(crate) async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let announcement = Announcement {
            node,
            ttl,
            value: record::encode(node)?.into(),
            entry: Entry::new(
                &self.connection,
                self.keys.node(node.service(), node.id()),
                doing("register", node),
            ),
        };
        let held = self.held().get(&announcement.entry.key).cloned();
        let done = match held {
            Some(held) if held.boot == node.boot() && held.ttl == ttl => {
                self.renew(&announcement, &held).await
            }
            _ => self.announce(&announcement).await,
        };
        if done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Conflict)
        {
            self.forget(&announcement.entry.key, node);
        }
        done
    }

    /// Withdraws `node`, unless another boot holds its id.
    pub(crate) async fn deregister(&self, node: &Node) -> Result<()> {
        let entry = Entry::new(
            &self.connection,
            self.keys.node(node.service(), node.id()),
            doing("deregister", node),
        );
        let held = self.held().get(&entry.key).cloned();
        if let Some(held) = held.filter(|held| held.boot == node.boot()) {
            held.lease.revoke(&self.connection, &entry.what).await?;
        }
        // What an earlier call put under a lease that we never heard of, or another handle of this boot did.
        for _ in 0..PUTS_MAX {
            let found = entry.find().await?;
            let is_gone = match found {
                Some(found) if entry.boot_of(&found, node) == Some(node.boot().to_owned()) => {
                    entry.delete(&found).await?
                }
                _ => true,
            };
            if is_gone {
                self.forget(&entry.key, node);
                return Ok(());
            }
        }
        Err(entry.contended())
    }

    /// Announces a node of which we hold nothing, unless another boot has its id.
    async fn announce(&self, announcement: &Announcement<'_>) -> Result<()> {
        // Ahead of a lease: somebody whose id is taken asks again and again.
        let found = announcement.entry.find().await?;
        let revision = announcement.replaceable(found.as_ref(), None)?;
        let lease = self.grant(announcement).await?;
        self.put(announcement, lease, revision).await
    }

    /// Keeps the lease of a node alive, and looks whether its key is still there: somebody may have deleted it.
    async fn renew(&self, announcement: &Announcement<'_>, held: &Held) -> Result<()> {
        let revision = held.stored.as_ref().map_or(0, |stored| stored.revision);
        let (lives, changed) = join!(
            held.lease.keep_alive(&self.connection, &announcement.entry.what),
            announcement.entry.changed_since(revision, held.lease.id()),
        );
        let (lives, changed) = (lives?, changed?);
        let expected = match &changed {
            Some(found) => announcement.replaceable(found.as_ref(), Some(held.lease.id()))?,
            None => revision,
        };
        let is_current = held
            .stored
            .as_ref()
            .is_some_and(|stored| stored.value == announcement.value);
        if lives && changed.is_none() && is_current {
            return Ok(());
        }
        let lease = if lives {
            Arc::clone(&held.lease)
        } else {
            self.grant(announcement).await?
        };
        self.put(announcement, lease, expected).await
    }

    /// Puts the node under `lease` where the key is as it was at `revision`, 0 for one that was not there.
    async fn put(
        &self,
        announcement: &Announcement<'_>,
        mut lease: Arc<Lease>,
        mut revision: i64,
    ) -> Result<()> {
        let Announcement { entry, value, .. } = announcement;
        for _ in 0..PUTS_MAX {
            match entry.put(value, lease.id(), revision).await? {
                Put::Done(revision) => {
                    let value = Arc::clone(value);
                    self.hold(announcement, lease, Some(Stored { value, revision }));
                    return Ok(());
                }
                Put::LeaseGone => lease = self.grant(announcement).await?,
                Put::Changed(found) => {
                    revision = announcement.replaceable(found.as_ref(), Some(lease.id()))?;
                }
            }
        }
        Err(entry.contended())
    }

    /// A new lease, noted at once: should this call be cut off, the next one goes on from here.
    async fn grant(&self, announcement: &Announcement<'_>) -> Result<Arc<Lease>> {
        let lease = Lease::grant(&self.connection, announcement.ttl, &announcement.entry.what).await?;
        let lease = Arc::new(lease);
        self.hold(announcement, Arc::clone(&lease), None);
        Ok(lease)
    }

    fn hold(&self, announcement: &Announcement<'_>, lease: Arc<Lease>, stored: Option<Stored>) {
        let held = Held {
            boot: announcement.node.boot().to_owned(),
            ttl: announcement.ttl,
            lease,
            stored,
        };
        self.held().insert(announcement.entry.key.clone(), held);
    }

    fn forget(&self, key: &str, node: &Node) {
        let mut held = self.held();
        if held.get(key).is_some_and(|held| held.boot == node.boot()) {
            held.remove(key);
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().expect("no panic while what is held is locked")
    }
}

impl Announcement<'_> {
    /// The revision of what may be replaced by this node: nothing, what its own boot put, or what stands under `lease`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when another boot holds the id.
    fn replaceable(&self, found: Option<&Found>, lease: Option<i64>) -> Result<i64> {
        let Some(found) = found else {
            return Ok(0);
        };
        let boot = self.entry.boot_of(found, self.node);
        if lease == Some(found.lease) || boot.as_deref() == Some(self.node.boot()) {
            return Ok(found.revision);
        }
        let (id, service) = (self.node.id(), self.node.service());
        let message = match boot {
            Some(_) => format!("node id `{id}` of `{service}` is held by another boot"),
            None => format!(
                "node id `{id}` of `{service}` is held by what is no node: key {:?}",
                self.entry.key
            ),
        };
        Err(Error::new(ErrorKind::Conflict, message))
    }
}

/// How many nodes, and no more.
impl fmt::Debug for Announcer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcer")
            .field("held", &self.held().len())
            .finish_non_exhaustive()
    }
}

fn doing(what: &str, node: &Node) -> String {
    format!("{what} node `{}` of `{}`", node.id(), node.service())
}
