//! How a node is known to be ready: its id stands in the registry, and it says that it is serving, or accepts TLS.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use micro::{
    CallOptions,
    registry::{Node, ServiceName},
};
use tokio::{
    net::TcpStream,
    time::{MissedTickBehavior, interval, timeout},
};
use tonic::Request;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::keeper::{Reached, Readiness, Waiting};
use crate::{failure::Result, lookup::Lookup};

/// How often the registry and the node are asked.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long a node may take to say that it is serving.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Waits for nodes in the registry. Clones share what the service is called.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    lookup: Lookup,
    /// What the service is called: first a guess, the name of the package, and then what a node was found under.
    service: Arc<Mutex<Option<String>>>,
}

impl Announced {
    /// Waits for nodes of a service that is probably called like its package.
    pub(super) fn new(lookup: Lookup, package: &str) -> Self {
        let guess = package.parse::<ServiceName>().ok();
        let service = Arc::new(Mutex::new(guess.map(|name| name.to_string())));
        Self { lookup, service }
    }

    /// The service that the nodes are nodes of, once one of them is ready.
    pub(super) fn service(&self) -> Option<String> {
        self.service
            .lock()
            .expect("no panic while the name is locked")
            .clone()
    }

    async fn find(&self, id: &str) -> Result<Option<Arc<Node>>> {
        if let Some(service) = self.service()
            && let Some(node) = self.lookup.snapshot(&service).await?.get(id)
        {
            return Ok(Some(node.clone()));
        }
        for service in self.lookup.services().await? {
            if let Some(node) = self.lookup.snapshot(&service).await?.get(id) {
                *self.service.lock().expect("no panic while the name is locked") = Some(service);
                return Ok(Some(node.clone()));
            }
        }
        Ok(None)
    }

    /// Whether the node says that it is serving, and what it says instead.
    ///
    /// One that takes TLS is not asked: its certificate is for those who call it, which need not be trusted here, nor this
    /// command by it. It is announced once it is ready, so all that is left to see is that it accepts connections.
    async fn is_serving(&self, node: &Node) -> Result<(), String> {
        if node.wants_tls() {
            let connecting = timeout(HEALTH_TIMEOUT, TcpStream::connect(node.address().to_string()));
            return match connecting.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(format!("no connection to {}: {error}", node.address())),
                Err(_) => Err(format!(
                    "no connection to {} within {HEALTH_TIMEOUT:?}",
                    node.address()
                )),
            };
        }
        let mut request = Request::new(HealthCheckRequest {
            service: String::new(),
        });
        let options = CallOptions::new().node(node.id()).timeout(HEALTH_TIMEOUT);
        request.extensions_mut().insert(options);
        let channel = self.lookup.channel(node.service().as_str());
        match HealthClient::new(channel).check(request).await {
            Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
            Ok(answer) => Err(format!("it says {}", answer.get_ref().status().as_str_name())),
            Err(status) => Err(status.message().to_owned()),
        }
    }
}

impl Readiness for Announced {
    async fn ready(&self, id: &str, waiting: &Waiting) -> Reached {
        let mut ticks = interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let node = match self.find(id).await {
                Ok(Some(node)) => node,
                Ok(None) => {
                    waiting.set(format!("it is not in {}", self.lookup.place()));
                    continue;
                }
                Err(failure) => {
                    waiting.set(failure.to_string());
                    continue;
                }
            };
            match self.is_serving(&node).await {
                Ok(()) => {
                    return Reached {
                        address: node.address().to_string(),
                        has_tls: node.wants_tls(),
                    };
                }
                Err(words) => waiting.set(words),
            }
        }
    }
}
