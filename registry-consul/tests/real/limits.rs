//! What just fits arrives, what is dead goes in time, and datacenters are and are not there.

use std::time::{Duration, Instant};

use micro_registry::{ErrorKind, Method, Node, Registry};
use micro_registry_consul::Consul;
use micro_test_servers::{Consul as Agent, largest};
use reqwest::Method as Http;
use tokio::time;

use crate::keeper::eventually_lists;

const TTL: Duration = Duration::from_secs(900);
/// How long a dead node stays at least; Consul looks for those every 30 s.
const DEAD_MIN: Duration = Duration::from_secs(60);
/// Within which it goes, on a machine that has much else to do.
const DEAD_MAX: Duration = Duration::from_secs(300);
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// How many pairs of metadata the nodes have, and how long the longest value of one may be.
const PAIRS: usize = 200;
const VALUE_LENGTH_MAX: usize = 4096;

/// A node whose values have `length` letters, of which hardly any can be saved by compressing them.
fn node(noise: &str, length: usize) -> Node {
    let address = "127.0.0.1:9090".parse().expect("an address");
    let node = Node::builder("greeter".parse().expect("a good name"), "greeter-1", address);
    let node = node
        .boot("boot-1")
        .methods([Method::new("greeter.v1.Say", "Hello")]);
    let pairs = (0..PAIRS).map(|number| (number, &noise[number * VALUE_LENGTH_MAX..][..length]));
    let node = pairs.fold(node, |node, (number, value)| {
        node.metadata(format!("key-{number}"), value)
    });
    node.build().expect("a good node")
}

#[tokio::test]
async fn the_largest_node_that_is_not_refused_comes_back_and_one_letter_more_is_refused() {
    let mut letters = fastrand::Rng::with_seed(7);
    let noise: String = (0..PAIRS * VALUE_LENGTH_MAX)
        .map(|_| letters.alphanumeric())
        .collect();
    let agent = Agent::builder().start().await.expect("an agent");
    let away = Consul::builder().address("127.0.0.1:1").build().unwrap();
    let node = |length: usize| node(&noise, length);
    // Where nobody is, what is not refused goes no further.
    let refusal = async |length: usize| {
        let error = away.register(&node(length), TTL).await.unwrap_err();
        let refused = error.kind() != ErrorKind::Unavailable;
        assert!(
            !refused || error.kind() == ErrorKind::InvalidArgument,
            "{error:?}"
        );
        refused.then(|| error.to_string())
    };
    let fitting = largest(VALUE_LENGTH_MAX, "allowed are 524288", refusal).await;
    let registry = Consul::builder().address(agent.address()).build().unwrap();
    for _ in 0..2 {
        registry.register(&node(fitting), TTL).await.unwrap();
    }
    eventually_lists(&registry, "greeter", &["greeter-1"]).await;
    let listed = registry.get_service("greeter").await.unwrap();
    assert!(*listed.nodes()[0] == node(fitting), "{fitting} letters a value");
    let error = registry.register(&node(fitting + 1), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

#[tokio::test]
async fn one_looks_in_the_datacenter_that_is_named() {
    let agent = Agent::builder().start().await.expect("an agent");
    let looking_in = |datacenter: &str| {
        let builder = Consul::builder().address(agent.address());
        builder.datacenter(datacenter).build().expect("good settings")
    };
    let registry = looking_in("dc1");
    let node = node(&"x".repeat(PAIRS * VALUE_LENGTH_MAX), 1);
    registry.register(&node, TTL).await.unwrap();
    eventually_lists(&registry, "greeter", &["greeter-1"]).await;
    assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
    // Nobody is there to ask, which is another thing than that nobody is there.
    let elsewhere = looking_in("dc2");
    for error in [
        elsewhere.get_service("greeter").await.unwrap_err(),
        elsewhere
            .watch("greeter")
            .await
            .unwrap()
            .next()
            .await
            .unwrap()
            .unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(
            format!("{error:?}").contains("No path to datacenter"),
            "{error:?}"
        );
    }
    assert!(elsewhere.list_services().await.is_err());
}

#[tokio::test]
async fn a_dead_node_stays_in_consul_unseen_for_as_long_as_is_said_and_no_longer() {
    let agent = Agent::builder().start().await.expect("an agent");
    let registry = Consul::builder().address(agent.address()).build().unwrap();
    let node = node(&"x".repeat(PAIRS * VALUE_LENGTH_MAX), 1);
    let began = Instant::now();
    registry.register(&node, Duration::from_secs(1)).await.unwrap();
    let is_there = async || {
        let (status, _) = agent
            .request(Http::GET, "agent/service/greeter-1", "")
            .await
            .expect("the agent answers");
        status.is_success()
    };
    assert!(is_there().await);
    let mut looks = time::interval(LOOK_INTERVAL);
    let goes = async {
        while is_there().await {
            looks.tick().await;
        }
    };
    time::timeout(DEAD_MAX, goes).await.expect("it goes");
    assert!(began.elapsed() >= DEAD_MIN, "{:?}", began.elapsed());
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
}
