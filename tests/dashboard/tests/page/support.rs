//! A gateway in this process, in front of servers in this process.

use std::{sync::Arc, time::Duration};

use micro::{
    ServiceBuilder,
    registry::{Memory, Node, Registry},
};
use micro_gateway::Settings;
use micro_test_dashboard::{Browser, Page, eventually};
use tokio::{net::TcpListener, task::JoinHandle};

const TTL: Duration = Duration::from_secs(600);

/// A gateway with a dashboard. Dropping it ends it.
pub(crate) struct Front {
    pub(crate) address: String,
    running: JoinHandle<()>,
}

impl Front {
    /// A gateway for what a registry of this process holds.
    pub(crate) async fn start(registry: &Arc<Memory>, settings: Settings) -> Self {
        Self::start_with(registry, settings, |builder| builder).await
    }

    /// The same, with more to be set.
    pub(crate) async fn start_with(
        registry: &Arc<Memory>,
        settings: Settings,
        with: impl FnOnce(ServiceBuilder) -> ServiceBuilder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let builder = micro_gateway::service(settings.dashboard(true))
            .address(listener.local_addr().unwrap().to_string())
            .registry(Arc::clone(registry) as Arc<dyn Registry>)
            .environment([("MICRO_SERVER_ID", "gateway-1")]);
        drop(listener);
        let service = with(builder).build().unwrap();
        let running = tokio::spawn(async move { service.run().await.unwrap() });
        eventually("the gateway listens", async || {
            tokio::net::TcpStream::connect(&address).await.is_ok()
        })
        .await;
        Self { address, running }
    }

    /// Opens its page.
    pub(crate) async fn open(&self, browser: &Browser) -> Page {
        browser.open(&format!("http://{}/dashboard", self.address)).await
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Puts a node into the registry.
pub(crate) async fn register(registry: &Memory, service: &str, id: &str, address: &str) {
    register_as(registry, service, id, address, "").await;
}

/// The same, with this as its version and among its metadata.
pub(crate) async fn register_as(registry: &Memory, service: &str, id: &str, address: &str, text: &str) {
    let mut node = Node::builder(service.parse().unwrap(), id, address.parse().unwrap());
    if !text.is_empty() {
        node = node.version(text).metadata("zone", text);
    }
    registry.register(&node.build().unwrap(), TTL).await.unwrap();
}
