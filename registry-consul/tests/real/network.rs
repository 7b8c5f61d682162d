//! An agent that is slow, hangs, is cut off without a word, or takes no more connections.

use std::time::{Duration, Instant};

use micro_registry::{Node, Registry};
use micro_registry_consul::Consul;
use micro_test_servers::{Consul as Agent, Shim};
use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet, time};

use crate::keeper::{Keeper, LIMIT, Onlooker, eventually_lists, keeps_listing};

const SERVICE: &str = "greeter";
const ID: &str = "greeter-1";
/// The default of the framework.
const TTL: Duration = Duration::from_secs(30);
const TTL_SHORT: Duration = Duration::from_secs(9);
/// As many connections as an agent takes from one address unless it is told otherwise.
const CONNECTIONS: usize = 200;

async fn agent() -> Agent {
    Agent::builder().start().await.expect("an agent")
}

fn registry(address: impl AsRef<str>) -> Consul {
    let builder = Consul::builder().address(address);
    builder.build().expect("good settings")
}

fn node() -> Node {
    let (service, address) = (SERVICE.parse(), "127.0.0.1:9090".parse());
    let node = Node::builder(service.expect("a good name"), ID, address.expect("an address"));
    node.boot("boot-1").build().expect("a good node")
}

/// Registers one more, past every registry handle.
async fn add(agent: &Agent, id: &str) {
    let body =
        json!({"ID": id, "Name": SERVICE, "Address": "127.0.0.1", "Port": 80, "Meta": {"micro-id": id}});
    let (status, answer) = agent
        .request(Method::PUT, "agent/service/register", &body.to_string())
        .await
        .expect("the agent answers");
    assert!(status.is_success(), "{answer}");
}

#[tokio::test]
async fn an_agent_that_takes_five_seconds_to_answer_loses_nobody() {
    let agent = agent().await;
    let shim = Shim::start(agent.address()).await.unwrap();
    let mut keeper = Keeper::start(registry(shim.address()), node(), TTL).await;
    shim.delay(Duration::from_secs(5));
    let direct = registry(agent.address());
    keeps_listing(&direct, SERVICE, &[ID], TTL + TTL / 2).await;
    assert_eq!(keeper.renewals().errors, []);
    keeper.renewed(1).await;
    // One that comes now is there, too, be it by a second try.
    let late = registry(shim.address());
    let begun = Instant::now();
    while !matches!(
        time::timeout(TTL / 3, late.register(&node(), TTL)).await,
        Ok(Ok(()))
    ) {
        assert!(begun.elapsed() < LIMIT, "not registered in {LIMIT:?}");
    }
}

#[tokio::test]
async fn an_agent_that_hangs_for_longer_than_the_ttl_has_the_node_again_soon_after() {
    let agent = agent().await;
    let mut keeper = Keeper::start(registry(agent.address()), node(), TTL_SHORT).await;
    let mut onlooker = Onlooker::start(registry(agent.address()), SERVICE);
    onlooker.sees(&[ID]).await;
    agent.nodes()[0].pause();
    // Each attempt ends in time, and the next begins.
    let begun = Instant::now();
    while begun.elapsed() < 2 * TTL_SHORT {
        let errors = keeper.renewals().errors.len();
        keeper.failed(errors + 1).await;
    }
    agent.nodes()[0].resume();
    let begun = Instant::now();
    keeper.renewed(1).await;
    let after = begun.elapsed();
    onlooker.sees(&[ID]).await;
    println!("renewed {after:?} after the agent went on");
}

#[tokio::test]
async fn what_changes_is_seen_by_who_is_cut_off_without_a_word() {
    let agent = agent().await;
    let shim = Shim::start(agent.address()).await.unwrap();
    let mut keeper = Keeper::start(registry(shim.address()), node(), TTL).await;
    let mut onlooker = Onlooker::start(registry(shim.address()), SERVICE);
    onlooker.sees(&[ID]).await;
    // By now it waits for changes, on a connection that is kept for that.
    add(&agent, "greeter-2").await;
    onlooker.sees(&[ID, "greeter-2"]).await;
    // All connections that there are; new ones pass.
    shim.stall();
    add(&agent, "greeter-3").await;
    let all = [ID, "greeter-2", "greeter-3"];
    let seen = onlooker.sees(&all).await;
    println!("seen {seen:?} after the connection died silently");
    keeper.renewed(2).await;
    keeps_listing(&registry(agent.address()), SERVICE, &all, TTL).await;
}

#[tokio::test]
async fn an_agent_whose_connections_are_all_taken_keeps_its_nodes_and_tells_of_changes() {
    let agent = agent().await;
    let mut keeper = Keeper::start(registry(agent.address()), node(), TTL_SHORT).await;
    let handle = registry(agent.address());
    eventually_lists(&handle, SERVICE, &[ID]).await;
    let mut idle = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(agent.address()).await.expect("it listens");
        idle.spawn(async move { stream.read_u8().await.map(drop) });
    }
    // The agent closes at once what is too many.
    time::timeout(LIMIT, idle.join_next())
        .await
        .expect("the agent has a limit");
    keeper.renewed(3).await;
    assert_eq!(keeper.renewals().errors, []);
    // There is no connection for a question that waits: the kept one asks again and again.
    let mut onlooker = Onlooker::start(handle, SERVICE);
    onlooker.sees(&[ID]).await;
    drop(keeper);
    onlooker.sees(&[]).await;
}
