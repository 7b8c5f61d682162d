//! The announcing side: a key per node, under a lease of its own.

use std::{sync::Arc, time::Duration};

use micro_registry::{Node, Result};

use crate::{connection::Connection, keys::Keys, record};

/// Announces nodes.
pub(crate) struct Announcer {
    connection: Arc<Connection>,
    keys: Keys,
}

impl Announcer {
    pub(crate) fn new(connection: Arc<Connection>, keys: Keys) -> Self {
        Self { connection, keys }
    }

    pub(crate) async fn register(&self, node: &Node, _: Duration) -> Result<()> {
        let key = self.keys.node(node.service(), node.id());
        let value = record::encode(node)?;
        let put = |mut client: etcd_client::Client| {
            let (key, value) = (key.clone(), value.clone());
            async move { client.put(key, value, None).await }
        };
        self.connection.call("register", put).await.map(drop)
    }

    pub(crate) async fn deregister(&self, node: &Node) -> Result<()> {
        let key = self.keys.node(node.service(), node.id());
        let delete = |mut client: etcd_client::Client| {
            let key = key.clone();
            async move { client.delete(key, None).await }
        };
        self.connection.call("deregister", delete).await.map(drop)
    }
}
