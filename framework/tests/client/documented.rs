//! What is told stands in docs/observing.md, and what stands there is told.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use micro::{
    Service,
    registry::{Memory, Registry},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::eventually;

const DOCUMENT: &str = include_str!("../../../docs/observing.md");

/// The names in the first columns of the tables.
fn documented() -> BTreeSet<String> {
    let name = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    let names = DOCUMENT.lines().filter_map(name);
    names
        .filter(|name| name.starts_with("micro_") || name.starts_with("rpc_"))
        .collect()
}

/// The names that a page has types of.
fn told(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect()
}

#[tokio::test]
async fn every_metric_is_documented_and_every_documented_one_is_told() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::default());
    let (tell, address) = oneshot::channel();
    let service = Service::builder("greeter")
        .registry(registry)
        .after_start(|cx| async move {
            // Its own server and its own client have one call each then.
            let mut health = HealthClient::new(cx.client().channel("greeter"));
            let request = HealthCheckRequest {
                service: String::new(),
            };
            health.check(request).await?;
            let address = cx.local_address().ok_or("the service has no address")?;
            tell.send(address).map_err(|_| "nobody wants to know")?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })
        .build()
        .unwrap();
    let running = tokio::spawn(service.run());
    let address = address.await.unwrap();
    let (documented, mut page) = (documented(), String::new());
    // A call is counted after its caller has the answer.
    eventually("the call is told", async || {
        page = metrics(address).await;
        told(&page).len() >= documented.len()
    })
    .await;
    running.abort();
    assert_eq!(told(&page), documented, "{page}");
}

async fn metrics(address: SocketAddr) -> String {
    let mut io = TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    io.write_all(request).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    answer
}
