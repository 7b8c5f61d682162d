//! The nodes of one registry: started together, and waited for together.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tempfile::TempDir;

use crate::{Error, Node, Result, node::Plan, ports};

/// How often other ports are tried when somebody takes one between our look and the server's.
const STARTS_MAX: usize = 10;
/// A node that is paused must not hold up who asks it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The nodes, which end before their folder goes.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    _folder: TempDir,
}

impl Cluster {
    /// Starts what `plan` makes of a folder and the first of `ports` free ports, until each node answers.
    pub(crate) async fn start(ports: u16, plan: impl Fn(&Path, u16) -> Result<Vec<Plan>>) -> Result<Self> {
        let mut starts = 0;
        loop {
            starts += 1;
            let folder = tempfile::tempdir().map_err(Error::during("make a folder for servers"))?;
            let client = client()?;
            let plans = plan(folder.path(), ports::free(ports))?.into_iter();
            let cluster = Self {
                nodes: plans.map(|plan| Node::new(plan, client.clone())).collect(),
                _folder: folder,
            };
            cluster.spawn()?;
            let Some(ended) = cluster.first_to_end().await? else {
                return Ok(cluster);
            };
            if starts == STARTS_MAX || !ended.met_another_on_its_ports() {
                return Err(ended.ended());
            }
        }
    }

    /// Where all nodes listen, separated by commas.
    pub(crate) fn addresses(&self, over_tls: bool) -> String {
        let address = |node: &Node| {
            if over_tls {
                node.tls_address()
            } else {
                node.address()
            }
        };
        let addresses: Vec<_> = self.nodes.iter().map(address).collect();
        addresses.join(",")
    }

    pub(crate) fn kill(&self) {
        self.nodes.iter().for_each(Node::kill);
    }

    /// Starts all nodes that do not run, and waits until each answers.
    pub(crate) async fn start_again(&self) -> Result<()> {
        self.spawn()?;
        for node in &self.nodes {
            if !node.until_answering().await? {
                // Together they were too many for somebody on its ports; alone it may try some more.
                node.start_again().await?;
            }
        }
        Ok(())
    }

    pub(crate) fn wipe(&self) -> Result<()> {
        self.kill();
        self.nodes.iter().try_for_each(Node::wipe)
    }

    /// The last words of all nodes.
    pub(crate) fn log(&self) -> String {
        let logs = self.nodes.iter().map(|node| {
            let state = if node.is_running() { "runs" } else { "does not run" };
            format!("{} {state}:\n{}\n", node.name(), node.log())
        });
        logs.collect()
    }

    /// The nodes that run and are not paused.
    pub(crate) fn awake(&self) -> impl Iterator<Item = usize> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter(|(_, node)| node.is_awake()).map(|(index, _)| index)
    }

    fn spawn(&self) -> Result<()> {
        self.nodes
            .iter()
            .filter(|node| !node.is_running())
            .try_for_each(Node::spawn)
    }

    async fn first_to_end(&self) -> Result<Option<&Node>> {
        for node in &self.nodes {
            if !node.until_answering().await? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }
}

fn client() -> Result<Client> {
    // Nodes are asked without TLS; the client wants to know how it would be done all the same.
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has the default versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Client::builder()
        .tls_backend_preconfigured(tls)
        .timeout(REQUEST_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(Error::during("make a client"))
}
