//! Lists services and follows them.

use std::sync::Arc;

use micro_registry::{Error, ErrorKind, Result, ServiceName, Snapshot, WatchSender};

use crate::{connection::Connection, keys::Keys};

pub(crate) struct Follower;

impl Follower {
    pub(crate) fn new(_: Arc<Connection>, _: Keys, _: ServiceName) -> Self {
        Self
    }

    pub(crate) async fn follow(self, _: WatchSender) -> Result<()> {
        Err(unfinished())
    }
}

pub(crate) async fn list(_: &Connection, _: &Keys, _: &ServiceName) -> Result<Snapshot> {
    Err(unfinished())
}

pub(crate) async fn services(_: &Connection, _: &Keys) -> Result<Vec<String>> {
    Err(unfinished())
}

fn unfinished() -> Error {
    Error::new(ErrorKind::Protocol, "follow services in etcd: not written yet")
}
