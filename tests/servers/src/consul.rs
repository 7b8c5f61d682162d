//! Consul: one agent that is its own server, or three servers and an agent beside them.

mod builder;

use reqwest::{Method, StatusCode};
use serde_json::Value;

pub use self::builder::ConsulBuilder;
use self::builder::server_port;
use crate::{Certificates, Node, Result, cluster::Cluster, poll::Wait};

/// The token that may do everything, where there are rights.
const MASTER: &str = "5ec7e700-0000-4000-8000-000000000000";

/// Agents of Consul's that run. They are killed when this is dropped.
#[derive(Debug)]
pub struct Consul {
    cluster: Cluster,
    settings: ConsulBuilder,
    certificates: Option<Certificates>,
}

impl Consul {
    /// One server without rights and without TLS, unless more is said.
    #[must_use]
    pub fn builder() -> ConsulBuilder {
        ConsulBuilder::new()
    }

    /// The servers, and after them the client agent, if there is one.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.cluster.nodes
    }

    /// Where the first agent listens without TLS.
    #[must_use]
    pub fn address(&self) -> String {
        self.nodes()[0].address()
    }

    /// Where the first agent listens for TLS.
    #[must_use]
    pub fn tls_address(&self) -> String {
        self.nodes()[0].tls_address()
    }

    /// The token that may do everything, where there are rights.
    #[must_use]
    pub fn token(&self) -> Option<&'static str> {
        self.settings.rights.then_some(MASTER)
    }

    /// The certificates, where there is TLS.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// What tells services, clients and the command of it, and who they are: variables, with their values.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            ("MICRO_REGISTRY", "consul".to_owned()),
            (
                "MICRO_REGISTRY_ADDRESS",
                self.cluster.addresses(self.certificates.is_some()),
            ),
        ];
        variables.extend(self.token().map(|token| ("CONSUL_HTTP_TOKEN", token.to_owned())));
        if let Some(certificates) = &self.certificates {
            let names = ["CONSUL_CACERT", "CONSUL_CLIENT_CERT", "CONSUL_CLIENT_KEY"];
            variables.extend(certificates.of_client(names));
        }
        variables
    }

    /// Which server leads, as those that run say; `None` while there is no leader.
    pub async fn leader(&self) -> Option<usize> {
        for index in self.cluster.awake() {
            let answer = self.request_at(index, Method::GET, "status/leader", "").await;
            let address = answer
                .ok()
                .and_then(|(_, body)| serde_json::from_str::<String>(&body).ok());
            let leader = self.nodes().iter().position(|node| {
                let server = address
                    .as_deref()
                    .and_then(|address| address.strip_prefix("127.0.0.1:"));
                server.and_then(|port| port.parse().ok()) == Some(server_port(http_port(node)))
            });
            // For a while those left name the one that was.
            if let Some(leader) = leader.filter(|leader| self.nodes()[*leader].is_awake()) {
                return Some(leader);
            }
        }
        None
    }

    /// Waits until there is a leader, and every agent that runs and is not paused answers from the catalogue with all agents in it.
    ///
    /// # Errors
    ///
    /// When that takes too long.
    pub async fn until_ready(&self) -> Result<()> {
        let wait = Wait::until("all agents are ready");
        while !self.is_ready().await {
            wait.on(|| self.cluster.log()).await?;
        }
        Ok(())
    }

    /// Kills all agents.
    pub fn kill(&self) {
        self.cluster.kill();
    }

    /// Starts all agents that do not run, where they were, and waits until they are ready. What they knew is there only
    /// if they [keep their data](ConsulBuilder::keeps_data).
    ///
    /// # Errors
    ///
    /// When one ends at once, or they are not ready in time.
    pub async fn start_again(&self) -> Result<()> {
        self.cluster.start_again().await?;
        self.until_ready().await
    }

    /// Kills all agents, and starts them where they were, knowing nothing.
    ///
    /// # Errors
    ///
    /// As [`start_again`](Self::start_again).
    pub async fn start_wiped(&self) -> Result<()> {
        self.cluster.wipe()?;
        self.start_again().await
    }

    /// One request to the first agent, with the token that may do everything; the path is what follows `/v1/`.
    ///
    /// # Errors
    ///
    /// When there is no answer, of whatever status.
    pub async fn request(&self, method: Method, path: &str, body: &str) -> Result<(StatusCode, String)> {
        self.request_at(0, method, path, body).await
    }

    /// Like [`request`](Self::request), to another agent.
    ///
    /// # Errors
    ///
    /// When there is no answer, of whatever status.
    pub async fn request_at(
        &self,
        index: usize,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<(StatusCode, String)> {
        let token = self.token().map(|token| ("X-Consul-Token", token));
        self.nodes()[index]
            .request(method, &format!("/v1/{path}"), token.as_slice(), body)
            .await
    }

    async fn is_ready(&self) -> bool {
        for index in self.cluster.awake() {
            let answer = self.request_at(index, Method::GET, "catalog/nodes", "").await;
            let Ok((StatusCode::OK, body)) = answer else {
                return false;
            };
            let known = serde_json::from_str::<Vec<Value>>(&body).map_or(0, |nodes| nodes.len());
            if known != self.nodes().len() {
                return false;
            }
        }
        self.leader().await.is_some()
    }
}

fn http_port(node: &Node) -> u16 {
    let address = node.address();
    let (_, port) = address.rsplit_once(':').expect("an address has a port");
    port.parse().expect("a port is a number")
}
