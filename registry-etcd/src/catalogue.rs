//! The looking side: what stands in etcd, read page by page, and watched.

mod pages;
mod stream;

use std::{collections::BTreeSet, sync::Arc};

use micro_registry::{Error, ErrorKind, Kept, Result, ServiceName, SkippedRecords, Snapshot, Watcher};

use self::{
    pages::{Page, Pages},
    stream::EtcdStream,
};
use crate::{
    connection::Connection,
    follower::{Follower, Position, Source},
    keys::Keys,
    nodes::{Draft, Nodes},
};

/// The longest message in bytes, of a list or a watch: some of the longest records together.
const MESSAGE_LENGTH_MAX: usize = 8 * 1024 * 1024;
/// How often a list is begun that etcd forgets half-way.
const ATTEMPTS_MAX: u32 = 3;

/// Lists services and their nodes.
#[derive(Debug)]
pub(crate) struct Catalogue {
    connection: Arc<Connection>,
    keys: Keys,
    skipped: Arc<SkippedRecords>,
    kept: Arc<Kept<Nodes>>,
}

impl Catalogue {
    pub(crate) fn new(connection: Arc<Connection>, keys: Keys) -> Self {
        Self {
            connection,
            keys,
            skipped: Arc::new(SkippedRecords::new(crate::NAME)),
            kept: Arc::default(),
        }
    }

    /// All nodes of `service`.
    pub(crate) async fn nodes(&self, service: ServiceName) -> Result<Snapshot> {
        let mut nodes = self.none(service);
        self.list(&mut nodes).await?;
        Ok(nodes.snapshot())
    }

    /// The names of all services of which a node's key stands in etcd.
    pub(crate) async fn services(&self) -> Result<Vec<String>> {
        let what = "list the services";
        for _ in 0..ATTEMPTS_MAX {
            if let Some(names) = self.try_services(what).await? {
                return Ok(names.iter().map(|name| name.as_str().to_owned()).collect());
            }
        }
        Err(forgotten(what))
    }

    /// Follows `service`.
    pub(crate) fn follow(self: &Arc<Self>, service: &ServiceName) -> Watcher {
        let nodes = self.kept.lend(service, || self.none(service.clone()));
        let follower = Follower::new(Arc::clone(self), nodes);
        Watcher::spawn(|sender| follower.follow(sender))
    }

    fn none(&self, service: ServiceName) -> Nodes {
        Nodes::new(service, &self.keys, Arc::clone(&self.skipped))
    }

    async fn try_services(&self, what: &str) -> Result<Option<BTreeSet<ServiceName>>> {
        let mut names = BTreeSet::new();
        let mut pages = Pages::of_keys(&self.connection, what, self.keys.all());
        while let Some(page) = pages.next().await? {
            let keys = match page {
                Page::Read(keys) => keys,
                Page::TooLong(_) => continue,
                Page::Forgotten => return Ok(None),
            };
            names.extend(keys.iter().filter_map(|kv| self.keys.service_of(kv.key())));
            // Nobody needs the other nodes of a service that is known.
            if let Some(behind) = keys.last().and_then(|kv| self.keys.behind_service_of(kv.key())) {
                pages.skip_to(behind);
            }
        }
        Ok(Some(names))
    }

    /// Answers `None` if etcd forgot the list half-way.
    async fn try_list(&self, nodes: &mut Nodes, what: &str) -> Result<Option<Position>> {
        let mut draft = Draft::default();
        let mut pages = Pages::of_records(&self.connection, what, nodes.prefix());
        while let Some(page) = pages.next().await? {
            match page {
                Page::Read(records) => {
                    for kv in records {
                        nodes.add(&mut draft, kv.key(), kv.value());
                    }
                }
                Page::TooLong(key) => nodes.add_unread(&mut draft, &key, MESSAGE_LENGTH_MAX),
                Page::Forgotten => return Ok(None),
            }
        }
        let at = pages.at();
        nodes.replace(draft);
        Ok(Some(at))
    }
}

impl Source for Catalogue {
    type Stream = EtcdStream;

    async fn list(&self, nodes: &mut Nodes) -> Result<Position> {
        let what = format!("list the nodes of `{}`", nodes.service());
        for _ in 0..ATTEMPTS_MAX {
            if let Some(at) = self.try_list(nodes, &what).await? {
                return Ok(at);
            }
        }
        Err(forgotten(&what))
    }

    async fn watch(&self, nodes: &Nodes, from: i64) -> Result<EtcdStream> {
        EtcdStream::open(Arc::clone(&self.connection), nodes, from).await
    }
}

fn forgotten(what: &str) -> Error {
    let cause = format!("{ATTEMPTS_MAX} times it was forgotten half-way");
    Error::new(ErrorKind::Unavailable, format!("{what} in etcd")).with_source(cause)
}

#[cfg(test)]
mod tests;
