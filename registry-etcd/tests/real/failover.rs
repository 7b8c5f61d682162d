//! Servers that are dead, asleep, restarted, wiped, or without the others.

use std::time::Duration;

use micro_registry::{ErrorKind, Registry};
use micro_registry_etcd::Etcd;
use micro_test_servers::{Etcd as Server, Node};
use reqwest::Method;
use tokio::time::{self, Instant};

use crate::announcing::{TTL, leases, node, registry, server, stored};

/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);
/// What a slow registry may take for an answer.
const SLOW: Duration = Duration::from_secs(5);

async fn three() -> Server {
    Server::builder().members(3).start().await.expect("three servers")
}

fn registry_of_all(server: &Server) -> Etcd {
    let addresses: Vec<_> = server.nodes().iter().map(Node::address).collect();
    let builder = Etcd::builder().address(addresses.join(","));
    builder.build().expect("good settings")
}

/// Renews until it is taken; what fails before is unavailable.
async fn renews(registry: &Etcd) {
    let started = Instant::now();
    while let Err(error) = registry.register(&node("boot-1"), TTL).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(started.elapsed() < LIMIT, "{error:?}");
    }
}

#[tokio::test]
async fn an_address_where_nobody_listens_is_passed_over() {
    let server = server().await;
    let addresses = format!("127.0.0.1:1,{}", server.address());
    let registry = Etcd::builder().address(addresses).build().unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&server).await.is_some());
}

#[tokio::test]
async fn a_first_call_passes_over_servers_that_sleep_or_have_lost_the_others() {
    let (fit, asleep, bereft) = (server().await, server().await, three().await);
    asleep.nodes()[0].pause();
    bereft.nodes()[1].kill();
    bereft.nodes()[2].kill();
    let started = Instant::now();
    while bereft.leader().await.is_some() {
        assert!(started.elapsed() < LIMIT);
    }
    let addresses = [&asleep, &bereft, &fit].map(Server::address);
    let registry = Etcd::builder().address(addresses.join(",")).build().unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&fit).await.is_some());

    // What one server knows has to do where there is none that is fit.
    let addresses = [&asleep, &bereft].map(Server::address);
    let registry = Etcd::builder().address(addresses.join(",")).build().unwrap();
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
    let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
}

#[tokio::test]
async fn every_address_that_fails_is_named() {
    let registry = Etcd::builder()
        .address("127.0.0.1:1,127.0.0.1:2")
        .build()
        .unwrap();
    let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let shown = format!("{error:?}");
    for address in ["http://127.0.0.1:1", "http://127.0.0.1:2", "refused"] {
        assert!(shown.contains(address), "{shown}");
    }
}

#[tokio::test]
async fn a_restarted_server_and_a_wiped_one_are_renewed_at_by_the_next_call() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let before = leases(&server).await;
    server.kill();
    let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    server.start_again().await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert_eq!(leases(&server).await, before);

    // Without a call in between: the connection that stood is dead.
    server.kill();
    server.start_wiped().await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&server).await.is_some());
}

#[tokio::test]
async fn a_server_that_sleeps_is_left_for_the_next() {
    let server = three().await;
    let registry = registry_of_all(&server);
    renews(&registry).await;
    renews(&registry).await;
    let before = leases(&server).await;
    server.nodes()[0].pause();
    renews(&registry).await;
    server.nodes()[0].resume();
    server.until_ready().await.unwrap();
    renews(&registry).await;
    assert!(stored(&server).await.is_some());
    assert_eq!(leases(&server).await, before);
}

#[tokio::test]
async fn a_server_that_sleeps_alone_is_unavailable_in_time_and_goes_on_where_it_was() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let before = leases(&server).await;
    server.nodes()[0].pause();
    let started = Instant::now();
    let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(started.elapsed() < LIMIT);
    server.nodes()[0].resume();
    renews(&registry).await;
    assert_eq!(leases(&server).await, before);
}

#[tokio::test]
async fn no_lease_is_given_up_while_the_servers_are_without_quorum() {
    let server = three().await;
    let registry = registry_of_all(&server);
    renews(&registry).await;
    renews(&registry).await;
    let before = leases(&server).await;
    server.nodes()[1].kill();
    server.nodes()[2].kill();
    for _ in 0..3 {
        let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    }
    server.start_again().await.unwrap();
    renews(&registry).await;
    assert!(stored(&server).await.is_some());
    assert_eq!(leases(&server).await, before);
}

#[tokio::test]
async fn a_server_that_takes_5_s_for_each_answer_costs_no_lease() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let before = leases(&server).await;
    for _ in 0..2 {
        server.nodes()[0].pause();
        let node = node("boot-1");
        let mut renewal = registry.register(&node, TTL);
        let early = time::timeout(SLOW, &mut renewal).await;
        assert!(early.is_err(), "it sleeps: {early:?}");
        server.nodes()[0].resume();
        renewal.await.unwrap();
    }
    assert_eq!(leases(&server).await, before);
}

#[tokio::test]
async fn what_a_handle_opened_ends_with_it() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let mut watcher = registry.watch("greeter").await.unwrap();
    watcher.next().await.unwrap().unwrap();
    assert!(streams(&server).await > 0);
    drop((registry, watcher));
    let started = Instant::now();
    while streams(&server).await > 0 {
        assert!(started.elapsed() < LIMIT);
    }
}

/// How many streams etcd has begun and not ended.
async fn streams(server: &Server) -> u64 {
    let metrics = server.nodes()[0].request(Method::GET, "/metrics", &[], "").await;
    let (_, text) = metrics.expect("etcd counts");
    let count = |metric: &str| -> u64 {
        let lines = text
            .lines()
            .filter(|line| line.starts_with(metric) && line.contains(r#"grpc_type="bidi_stream""#));
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        counts.sum()
    };
    count("grpc_server_started_total{") - count("grpc_server_handled_total{")
}

#[tokio::test]
async fn a_leader_that_dies_costs_no_lease() {
    let server = three().await;
    let registry = registry_of_all(&server);
    renews(&registry).await;
    renews(&registry).await;
    let before = leases(&server).await;
    let leader = server.leader().await.unwrap();
    server.nodes()[leader].kill();
    renews(&registry).await;
    server.until_ready().await.unwrap();
    assert!(stored(&server).await.is_some());
    server.start_again().await.unwrap();
    assert_eq!(leases(&server).await, before);
}
