//! Three servers: the leader is killed, the quorum lost, one paused, and agents fail, forget or remember.

use std::{slice, time::Duration};

use micro_registry::{ErrorKind, Node, Registry};
use micro_registry_consul::Consul;
use micro_test_servers::Consul as Cluster;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time;

use crate::keeper::{Keeper, LIMIT, Onlooker, eventually_lists, ids_of, keeps_listing};

const SERVICE: &str = "greeter";
const IDS: [&str; 3] = ["greeter-1", "greeter-2", "greeter-3"];
/// The default of the framework.
const TTL: Duration = Duration::from_secs(30);
/// Where a test waits for the ttl.
const TTL_SHORT: Duration = Duration::from_secs(9);
/// The place of the agent that is no server.
const AGENT: usize = 3;

async fn cluster() -> Cluster {
    let cluster = Cluster::builder().servers(3).client_agent();
    cluster.start().await.expect("a cluster")
}

/// A handle that speaks to these agents.
fn registry(cluster: &Cluster, agents: &[usize]) -> Consul {
    let builder = agents.iter().fold(Consul::builder(), |builder, agent| {
        builder.address(cluster.nodes()[*agent].address())
    });
    builder.build().expect("good settings")
}

fn node(id: &str, boot: &str) -> Node {
    let (service, address) = (SERVICE.parse(), "127.0.0.1:9090".parse());
    let node = Node::builder(service.expect("a good name"), id, address.expect("an address"));
    node.boot(boot).build().expect("a good node")
}

/// Keeps three nodes at the agent that is no server.
async fn kept(cluster: &Cluster, ttl: Duration) -> Vec<Keeper> {
    let mut keepers = Vec::new();
    for id in IDS {
        keepers.push(Keeper::start(registry(cluster, &[AGENT]), node(id, "boot-1"), ttl).await);
    }
    until_records(cluster, |records| records == IDS.len()).await;
    keepers
}

/// Waits until every server knows as many records; those that follow the leader are a little behind.
async fn until_records(cluster: &Cluster, is_so: impl Fn(usize) -> bool) {
    for server in 0..AGENT {
        let known = async { while !is_so(created(cluster, server).await.len()) {} };
        time::timeout(LIMIT, known).await.expect("each server knows");
    }
}

/// What the catalogue has of the service, by id of the record: when it was first written.
async fn created(cluster: &Cluster, at: usize) -> Vec<(String, u64)> {
    let path = format!("catalog/service/{SERVICE}?stale");
    // On a busy machine an answer may be late.
    let answered = async {
        loop {
            if let Ok((_, body)) = cluster.request_at(at, Method::GET, &path, "").await {
                return body;
            }
        }
    };
    let body = time::timeout(LIMIT, answered).await.expect("an answer");
    let records: Vec<Value> = serde_json::from_str(&body).expect("JSON");
    let mut records: Vec<_> = records
        .iter()
        .map(|record| {
            let id = record["ServiceID"].as_str().expect("an id").to_owned();
            (id, record["CreateIndex"].as_u64().expect("an index"))
        })
        .collect();
    records.sort();
    records
}

#[tokio::test]
async fn a_leader_that_is_killed_changes_nothing() {
    let cluster = cluster().await;
    let mut keepers = kept(&cluster, TTL_SHORT).await;
    let mut onlooker = Onlooker::start(registry(&cluster, &[AGENT]), SERVICE);
    onlooker.sees(&IDS).await;
    let seen = onlooker.seen().len();
    let leader = cluster.leader().await.expect("a leader");
    cluster.nodes()[leader].kill();
    keeps_listing(&registry(&cluster, &[AGENT]), SERVICE, &IDS, TTL_SHORT).await;
    cluster.until_ready().await.unwrap();
    for keeper in &mut keepers {
        keeper.renewed(1).await;
        assert_eq!(keeper.renewals().errors, []);
    }
    for snapshot in &onlooker.seen()[seen..] {
        assert_eq!(ids_of(snapshot), IDS);
    }
    // And it follows the new one.
    keepers.truncate(2);
    onlooker.sees(&IDS[..2]).await;
}

#[tokio::test]
async fn without_a_quorum_nobody_goes_and_nobody_has_to_register_anew() {
    let cluster = cluster().await;
    let mut keepers = kept(&cluster, TTL).await;
    let mut onlooker = Onlooker::start(registry(&cluster, &[AGENT]), SERVICE);
    onlooker.sees(&IDS).await;
    let seen = onlooker.seen().len();
    let before = created(&cluster, AGENT).await;
    for server in &cluster.nodes()[1..AGENT] {
        server.kill();
    }
    // Who comes now is told what the server that is left knows.
    eventually_lists(&registry(&cluster, &[AGENT]), SERVICE, &IDS).await;
    let mut latecomer = Onlooker::start(registry(&cluster, &[AGENT]), SERVICE);
    latecomer.sees(&IDS).await;
    // What waits for a quorum holds back the heartbeats of the others.
    let newcomer = Keeper::begin(registry(&cluster, &[AGENT]), node("newcomer", "boot-1"), TTL);
    keeps_listing(&registry(&cluster, &[AGENT]), SERVICE, &IDS, TTL + TTL / 3).await;
    for snapshot in &onlooker.seen()[seen..] {
        assert_eq!(ids_of(snapshot), IDS);
    }
    let lost: Vec<_> = keepers.iter().map(Keeper::renewals).collect();
    cluster.start_again().await.unwrap();
    for keeper in &mut keepers {
        keeper.renewed(1).await;
    }
    let listed: Vec<_> = IDS.iter().copied().chain(["newcomer"]).collect();
    let healed = eventually_lists(&registry(&cluster, &[AGENT]), SERVICE, &listed).await;
    let mut after = created(&cluster, AGENT).await;
    after.retain(|(id, _)| IDS.contains(&id.as_str()));
    assert_eq!(after, before, "a record was made anew");
    println!(
        "without a quorum: {lost:?}, a newcomer: {:?}",
        newcomer.renewals()
    );
    println!("all there {healed:?} after the first renewal");
}

#[tokio::test]
async fn a_server_that_is_paused_takes_nobody_with_it() {
    let cluster = cluster().await;
    let mut keepers = kept(&cluster, TTL_SHORT).await;
    let leader = cluster.leader().await.expect("a leader");
    for paused in [leader, (leader + 1) % AGENT] {
        cluster.nodes()[paused].pause();
        keeps_listing(&registry(&cluster, &[AGENT]), SERVICE, &IDS, 2 * TTL_SHORT).await;
        cluster.nodes()[paused].resume();
        cluster.until_ready().await.unwrap();
        for keeper in &mut keepers {
            keeper.renewed(1).await;
        }
        eventually_lists(&registry(&cluster, &[AGENT]), SERVICE, &IDS).await;
    }
}

#[tokio::test]
async fn an_agent_that_forgets_has_its_nodes_again_and_one_that_remembers_keeps_them() {
    let cluster = cluster().await;
    let mut keepers = kept(&cluster, TTL).await;
    let registry = registry(&cluster, &[AGENT]);
    eventually_lists(&registry, SERVICE, &IDS).await;
    cluster.nodes()[AGENT].start_wiped().await.unwrap();
    cluster.until_ready().await.unwrap();
    for keeper in &mut keepers {
        keeper.renewed(1).await;
    }
    eventually_lists(&registry, SERVICE, &IDS).await;
    let before = created(&cluster, AGENT).await;
    cluster.nodes()[AGENT].kill();
    cluster.nodes()[AGENT].start_again().await.unwrap();
    cluster.until_ready().await.unwrap();
    for keeper in &mut keepers {
        keeper.renewed(1).await;
        assert!(!keeper.renewals().errors.contains(&ErrorKind::Conflict));
    }
    eventually_lists(&registry, SERVICE, &IDS).await;
    assert_eq!(created(&cluster, AGENT).await, before);
}

#[tokio::test]
async fn a_node_whose_agent_fails_moves_and_its_ghost_dies_out() {
    let cluster = cluster().await;
    let (from, to, onlooker) = (AGENT, 0, 1);
    let handle = registry(&cluster, &[from, to]);
    let mut keeper = Keeper::start(handle, node(IDS[0], "boot-1"), TTL_SHORT).await;
    let mut onlooker = Onlooker::start(registry(&cluster, &[onlooker]), SERVICE);
    onlooker.sees(&IDS[..1]).await;
    for returns in [false, true] {
        // First it hangs, later it is gone.
        if returns {
            cluster.nodes()[from].kill();
        } else {
            cluster.nodes()[from].pause();
        }
        keeper.renewed(2).await;
        onlooker.sees(&IDS[..1]).await;
        if returns {
            cluster.nodes()[from].start_again().await.unwrap();
        } else {
            cluster.nodes()[from].resume();
        }
        cluster.until_ready().await.unwrap();
        keeper.renewed(2).await;
        onlooker.sees(&IDS[..1]).await;
        // Now to the other direction.
        cluster.nodes()[to].pause();
        keeper.renewed(2).await;
        cluster.nodes()[to].resume();
        cluster.until_ready().await.unwrap();
        onlooker.sees(&IDS[..1]).await;
    }
    assert!(!keeper.renewals().errors.contains(&ErrorKind::Conflict));
}

#[tokio::test]
async fn an_id_is_held_by_one_boot_also_at_two_agents() {
    let cluster = cluster().await;
    let (first, second) = (registry(&cluster, &[0]), registry(&cluster, &[1]));
    let boots = ["boot-1", "boot-2"].map(|boot| node(IDS[0], boot));
    first.register(&boots[0], TTL).await.unwrap();
    eventually_lists(&second, SERVICE, &IDS[..1]).await;
    let error = second.register(&boots[1], TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    first.register(&boots[0], TTL).await.unwrap();
    first.deregister(&boots[0]).await.unwrap();
    eventually_lists(&second, SERVICE, &[]).await;
    // At the same moment, neither sees the other; the first renewals do.
    let (one, other) = tokio::join!(first.register(&boots[0], TTL), second.register(&boots[1], TTL));
    assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
    if one.is_ok() && other.is_ok() {
        until_records(&cluster, |records| records == 2).await;
    }
    let mut held = Vec::new();
    for (registry, node) in [(&first, &boots[0]), (&second, &boots[1])] {
        match registry.register(node, TTL).await {
            Ok(()) => held.push(node.clone()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
        }
    }
    assert_eq!(held.len(), 1, "{held:?}");
    until_records(&cluster, |records| records == 1).await;
    let listed = first.get_service(SERVICE).await.unwrap();
    assert_eq!(*listed.nodes()[0], held[0]);
}

#[tokio::test]
async fn what_somebody_takes_out_of_the_catalogue_its_agent_puts_back() {
    let cluster = cluster().await;
    let registry = registry(&cluster, &[AGENT]);
    let node = node(IDS[0], "boot-1");
    registry.register(&node, TTL).await.unwrap();
    let mut onlooker = Onlooker::start(self::registry(&cluster, &[0]), SERVICE);
    onlooker.sees(&IDS[..1]).await;
    let agent = cluster.nodes()[AGENT].name();
    let body = json!({"Node": agent, "ServiceID": IDS[0]}).to_string();
    let (status, answer) = cluster
        .request_at(0, Method::PUT, "catalog/deregister", &body)
        .await
        .unwrap();
    assert!(status.is_success(), "{answer}");
    onlooker.sees(&[]).await;
    let keeper = Keeper::start(registry, node.clone(), TTL).await;
    let back = onlooker.sees(&IDS[..1]).await;
    assert_eq!(
        onlooker.seen().last().unwrap().nodes(),
        slice::from_ref(&std::sync::Arc::new(node))
    );
    println!("put back after {back:?}: {:?}", keeper.renewals());
}
