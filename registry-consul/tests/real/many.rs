//! A thousand services followed by one handle: its connections are few, and it sees a change to each service.

use std::time::Duration;

use micro_registry::Registry;
use micro_registry_consul::Consul;
use micro_test_servers::{Consul as Agent, Shim};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time};

/// Within which each change is seen, on a machine that has much else to do: a poll comes every 5 s.
const LIMIT: Duration = Duration::from_secs(240);
const SERVICES: usize = 1_000;
/// How many wait for changes.
const FOLLOWING: usize = 64;
/// Half of what an agent takes: besides those that wait, 8 list, and some are ending.
const CONNECTIONS_MAX: usize = 100;
/// The most changes that Consul takes in one request.
const CHANGES_MAX: usize = 64;
const HOST: &str = "host-1";

/// The port of each service's only node that was seen last.
type Ports = Vec<Option<u16>>;

/// Writes one node of each service, at this port.
async fn write(agent: &Agent, port: u16) {
    let changes: Vec<_> = (0..SERVICES)
        .map(|number| {
            let service = json!({
                "ID": format!("{}-one", name(number)), "Service": name(number), "Address": "10.0.0.7", "Port": port,
            });
            json!({"Service": {"Verb": "set", "Node": HOST, "Service": service}})
        })
        .collect();
    for some in changes.chunks(CHANGES_MAX) {
        let body = Value::from(some).to_string();
        let (status, answer) = agent.request(Method::PUT, "txn", &body).await.expect("an answer");
        assert!(status.is_success(), "{status} {answer}");
    }
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

/// Follows all services until it is dropped.
struct Following {
    sightings: mpsc::UnboundedReceiver<(usize, Option<u16>)>,
    watches: JoinSet<()>,
    ports: Ports,
    connections_most: usize,
}

impl Following {
    async fn start(registry: &Consul) -> Self {
        let (seen, sightings) = mpsc::unbounded_channel();
        let mut watches = JoinSet::new();
        for number in 0..SERVICES {
            let mut watcher = registry.watch(&name(number)).await.expect("a good name");
            let seen = seen.clone();
            watches.spawn(async move {
                loop {
                    let snapshot = watcher.next().await.expect("it goes on").expect("no error");
                    let port = snapshot.nodes().first().map(|node| node.address().port());
                    seen.send((number, port)).expect("the test goes on");
                }
            });
        }
        Self {
            sightings,
            watches,
            ports: vec![None; SERVICES],
            connections_most: 0,
        }
    }

    /// Waits until every service has this port.
    async fn sees(&mut self, port: u16, shim: &Shim) {
        let mut missing = self.ports.iter().filter(|seen| **seen != Some(port)).count();
        while missing > 0 {
            tokio::select! {
                sighting = self.sightings.recv() => {
                    let (number, seen) = sighting.expect("somebody follows");
                    let before = self.ports[number].replace(seen.expect("no service is empty"));
                    missing += usize::from(before == Some(port));
                    missing -= usize::from(seen == Some(port));
                    self.connections_most = self.connections_most.max(shim.connections());
                }
                Some(ended) = self.watches.join_next() => panic!("a watch has ended: {ended:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_thousand_services_are_followed_by_few_connections() {
    let agent = Agent::builder().start().await.expect("an agent");
    let host = json!({"Node": HOST, "Address": "10.0.0.1"}).to_string();
    let (status, answer) = agent
        .request(Method::PUT, "catalog/register", &host)
        .await
        .expect("an answer");
    assert!(status.is_success(), "{answer}");
    write(&agent, 80).await;
    let shim = Shim::start(agent.address()).await.unwrap();
    let registry = Consul::builder().address(shim.address()).build().unwrap();
    let mut following = Following::start(&registry).await;
    for port in [80, 81] {
        if port > 80 {
            write(&agent, port).await;
        }
        let all = following.sees(port, &shim);
        time::timeout(LIMIT, all).await.expect("each is seen in time");
    }
    let most = following.connections_most;
    assert!(most <= CONNECTIONS_MAX, "{most} connections");
    assert!(most >= FOLLOWING, "they are counted: {most}");
}
