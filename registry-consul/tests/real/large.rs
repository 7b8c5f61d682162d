//! A service of 10,000 nodes at 100 agents: listed and followed whole, also while it never rests.

use std::{
    fs,
    time::{Duration, Instant},
};

use micro_registry::{Node, Registry, Snapshot};
use micro_registry_consul::Consul;
use micro_test_servers::Consul as Agent;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time;

use crate::keeper::LIMIT;

const SERVICE: &str = "greeter";
const NODES: usize = 10_000;
const NODES_PER_AGENT: usize = 100;
/// The most changes that Consul takes in one request.
const CHANGES_MAX: usize = 64;
/// How long a service never rests.
const STORM: Duration = Duration::from_secs(10);
/// The shortest time between two snapshots.
const COALESCED: Duration = Duration::from_millis(50);
/// A snapshot of 10,000 nodes and what was read of it, several times over, also without optimisation.
const MEMORY_MAX: usize = 600 * 1024 * 1024;

/// What the registry itself writes, made into many by changing the id and the port.
async fn written(agent: &Agent, registry: &Consul) -> Value {
    let (service, address) = (SERVICE.parse(), "127.0.0.1:9090".parse());
    let node = Node::builder(
        service.expect("a good name"),
        "pattern",
        address.expect("an address"),
    );
    let node = node
        .version("1.2.0")
        .metadata("zone", "a")
        .metadata("protocol", "grpc");
    let node = node.boot("boot-1").build().expect("a good node");
    registry.register(&node, LIMIT).await.expect("registered");
    let (_, body) = agent
        .request(Method::GET, "agent/services", "")
        .await
        .expect("an answer");
    registry.deregister(&node).await.expect("deregistered");
    let services: Value = serde_json::from_str(&body).expect("JSON");
    services
        .as_object()
        .expect("services")
        .values()
        .next()
        .expect("one")
        .clone()
}

/// Writes these nodes, with what all of them say in `version`.
async fn write(agent: &Agent, pattern: &Value, numbers: impl Iterator<Item = usize>, zone: &str) {
    let changes: Vec<_> = numbers.map(|number| change(pattern, number, zone)).collect();
    for some in changes.chunks(CHANGES_MAX) {
        let body = Value::from(some).to_string();
        let (status, answer) = agent.request(Method::PUT, "txn", &body).await.expect("an answer");
        assert!(status.is_success(), "{status} {answer}");
    }
}

fn change(pattern: &Value, number: usize, zone: &str) -> Value {
    let id = format!("greeter-{number:05}");
    json!({"Service": {"Verb": "set", "Node": host(number), "Service": {
        "ID": id,
        "Service": SERVICE,
        "Address": format!("10.1.{}.{}", number / 250, number % 250 + 1),
        "Port": 9090,
        "Tags": pattern["Tags"],
        "Meta": {"micro-id": id, "micro-boot": "boot-1", "rack": zone},
    }}})
}

fn host(number: usize) -> String {
    format!("host-{:03}", number / NODES_PER_AGENT)
}

/// The agents that the nodes stand at.
async fn write_agents(agent: &Agent) {
    for number in 0..NODES / NODES_PER_AGENT {
        let body = json!({"Node": format!("host-{number:03}"), "Address": format!("10.0.0.{}", number + 1)});
        let (status, answer) = agent
            .request(Method::PUT, "catalog/register", &body.to_string())
            .await
            .expect("an answer");
        assert!(status.is_success(), "{answer}");
    }
}

/// How many nodes stand in the rack.
fn in_rack(snapshot: &Snapshot, rack: &str) -> usize {
    let nodes = snapshot.nodes().iter();
    nodes
        .filter(|node| node.metadata().get("rack").is_some_and(|own| own == rack))
        .count()
}

/// The most memory that this process ever had.
fn memory_peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kilobytes.unwrap_or_default() * 1024
}

#[tokio::test]
async fn ten_thousand_nodes_are_listed_and_followed_also_in_a_storm() {
    let agent = Agent::builder().start().await.expect("an agent");
    let registry = Consul::builder().address(agent.address()).build().unwrap();
    let pattern = written(&agent, &registry).await;
    write_agents(&agent).await;
    write(&agent, &pattern, 0..NODES, "calm").await;

    let begun = Instant::now();
    let listed = registry.get_service(SERVICE).await.unwrap();
    println!("{NODES} nodes listed in {:?}", begun.elapsed());
    assert_eq!((listed.len(), in_rack(&listed, "calm")), (NODES, NODES));

    let mut watcher = registry.watch(SERVICE).await.unwrap();
    assert_eq!(watcher.next().await.unwrap().unwrap().len(), NODES);
    let writing = tokio::spawn(async move {
        let begun = Instant::now();
        let mut changes = 0;
        while begun.elapsed() < STORM {
            let first = changes % NODES;
            let last = (first + CHANGES_MAX).min(NODES);
            write(&agent, &pattern, first..last, &format!("storm-{changes}")).await;
            changes += last - first;
        }
        write(&agent, &pattern, 0..NODES, "after").await;
        (agent, changes, begun.elapsed())
    });
    let begun = Instant::now();
    let mut snapshots = 0;
    let following = async {
        loop {
            let snapshot = watcher.next().await.expect("it goes on").expect("no error");
            assert_eq!(snapshot.len(), NODES);
            snapshots += 1;
            if in_rack(&snapshot, "after") == NODES {
                return begun.elapsed();
            }
        }
    };
    let seen = time::timeout(LIMIT, following).await.expect("in time");
    let (_agent, changes, written) = writing.await.unwrap();
    let peak = memory_peak();
    println!(
        "{} changes written in {written:?}, {snapshots} snapshots, the last seen {:?} after the last change; peak {} MiB",
        changes + NODES,
        seen.saturating_sub(written),
        peak / 1024 / 1024
    );
    let most = seen.as_millis() / COALESCED.as_millis() + 2;
    assert!(snapshots <= most, "{snapshots} snapshots in {seen:?}");
    assert!(peak < MEMORY_MAX, "{peak} bytes");
}
