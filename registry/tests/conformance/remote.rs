//! A handle on the server, as one process has it.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use micro_registry::{Node, Registry, Result, ServiceName, Snapshot, Watcher};

use crate::{
    follower::Follower,
    server::{Fault, Server},
};

/// A handle on a server, as one process has it.
#[derive(Debug)]
pub(crate) struct Remote {
    server: Arc<Server>,
    sent: Mutex<BTreeSet<String>>,
}

impl Remote {
    pub(crate) fn new(server: Arc<Server>) -> Self {
        Self {
            server,
            sent: Mutex::default(),
        }
    }

    async fn check(&self, service: &str) -> Result<()> {
        if self.server.has(Fault::ChecksLate) {
            self.server.reach().await?;
        }
        if !self.server.has(Fault::TakesAnyName) {
            service.parse::<ServiceName>()?;
        }
        self.server.reach().await
    }

    /// Whether the server has to be told of `node`.
    fn is_news(&self, node: &Node) -> bool {
        let mut sent = self.sent.lock().expect("no panic while the ids are locked");
        sent.insert(node.id().into()) || !self.server.has(Fault::SendsOnce)
    }
}

#[async_trait]
impl Registry for Remote {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.server.reach().await?;
        if self.is_news(node) {
            self.server.put(node, ttl)?;
        }
        Ok(())
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.server.reach().await?;
        self.server.take(node)
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.check(service).await?;
        Ok(self.server.look(service)?.0)
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.server.reach().await?;
        Ok(self.server.names())
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        self.check(service).await?;
        let follower = Follower {
            server: Arc::clone(&self.server),
            service: service.into(),
            number: self.server.begin_watch(),
            seen: None,
        };
        Ok(Watcher::spawn(|sender| follower.follow(sender)))
    }

    fn name(&self) -> &'static str {
        "remote"
    }
}
