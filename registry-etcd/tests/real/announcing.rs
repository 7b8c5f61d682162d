//! What becomes of a node whose key or lease others take away, and of what is left behind.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use micro_registry::{ErrorKind, Node, Registry, Result};
use micro_registry_etcd::Etcd;
use micro_test_servers::{Etcd as Server, largest};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time;

/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);
/// Longer than a test takes.
pub(crate) const TTL: Duration = Duration::from_secs(900);
/// Short, as a test waits for its end.
const SHORT: Duration = Duration::from_secs(2);
/// How many pairs of metadata a large node has, and how long the longest value of one may be.
const PAIRS: usize = 200;
const VALUE_LENGTH_MAX: usize = 4096;
/// How often two claim one id at the same time.
const RACES: usize = 30;
pub(crate) const KEYS: &str = "/micro/registry/";
const KEY: &str = "/micro/registry/greeter/greeter-1";

pub(crate) async fn server() -> Server {
    Server::builder().start().await.expect("a server")
}

pub(crate) fn registry(server: &Server) -> Etcd {
    let builder = Etcd::builder().address(server.address());
    builder.build().expect("good settings")
}

/// The node `greeter-1`.
pub(crate) fn node(boot: &str) -> Node {
    node_with(boot, "a")
}

fn node_with(boot: &str, zone: &str) -> Node {
    let service = "greeter".parse().expect("a good name");
    let address = "127.0.0.1:9090".parse().expect("a good address");
    let node = Node::builder(service, "greeter-1", address);
    node.boot(boot)
        .metadata("zone", zone)
        .build()
        .expect("a good node")
}

/// What stands in etcd of the node.
pub(crate) async fn stored(server: &Server) -> Option<String> {
    let pairs = server.list(KEYS).await.expect("etcd lists");
    let (_, value) = pairs.into_iter().find(|(key, _)| key == KEY)?;
    Some(String::from_utf8(value).expect("JSON"))
}

/// The leases that there are.
pub(crate) async fn leases(server: &Server) -> Vec<String> {
    let answer = change(server, "lease/leases", &json!({})).await;
    let leases = answer["leases"].as_array().cloned().unwrap_or_default();
    let ids = leases.iter().filter_map(|lease| lease["ID"].as_str());
    ids.map(str::to_owned).collect()
}

pub(crate) async fn change(server: &Server, path: &str, body: &Value) -> Value {
    let (status, answer) = server.request(path, body).await.expect("etcd answers");
    assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    answer
}

async fn revoke_all(server: &Server) {
    for id in leases(server).await {
        change(server, "lease/revoke", &json!({ "ID": id })).await;
    }
}

/// Waits for the node to go.
async fn goes(server: &Server) {
    let other = registry(server);
    let mut watcher = other.watch("greeter").await.expect("a watcher");
    let gone = async {
        while !watcher
            .next()
            .await
            .expect("it goes on")
            .expect("no error")
            .is_empty()
        {}
    };
    time::timeout(LIMIT, gone).await.expect("in time");
}

fn kind(answer: Result<()>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_lease_that_is_lost_is_replaced_by_the_next_renewal() {
    let server = server().await;
    let registry = registry(&server);
    for renewals_before in 0..3 {
        for _ in 0..=renewals_before {
            registry.register(&node("boot-1"), TTL).await.unwrap();
        }
        revoke_all(&server).await;
        assert_eq!(stored(&server).await, None);
        registry.register(&node("boot-1"), TTL).await.unwrap();
        assert!(stored(&server).await.is_some(), "{renewals_before}");
        assert_eq!(leases(&server).await.len(), 1);
    }
}

#[tokio::test]
async fn a_lease_that_ran_out_while_the_process_stood_still_is_replaced_at_once() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), SHORT).await.unwrap();
    registry.register(&node("boot-1"), SHORT).await.unwrap();
    goes(&server).await;
    registry.register(&node("boot-1"), SHORT).await.unwrap();
    assert!(stored(&server).await.is_some());
}

#[tokio::test]
async fn a_key_that_somebody_deleted_is_back_with_the_next_renewal_under_its_lease() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let before = leases(&server).await;
    server.delete(KEY).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&server).await.is_some());
    assert_eq!(leases(&server).await, before);
    revoke_all(&server).await;
    assert_eq!(stored(&server).await, None);
}

#[tokio::test]
async fn a_record_of_ours_that_somebody_changed_is_put_again_and_one_of_another_boot_is_not() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let ours = stored(&server).await.unwrap();
    let changed = ours.replace("127.0.0.1:9090", "127.0.0.1:1");
    server.put(KEY, changed.as_bytes()).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert_eq!(stored(&server).await, Some(ours.clone()));

    for other in [ours.replace("boot-1", "boot-2"), "no node".to_owned()] {
        server.put(KEY, other.as_bytes()).await.unwrap();
        for _ in 0..2 {
            let answer = registry.register(&node("boot-1"), TTL).await;
            assert_eq!(kind(answer), Some(ErrorKind::Conflict), "{other}");
        }
        registry.deregister(&node("boot-1")).await.unwrap();
        assert_eq!(stored(&server).await, Some(other));
    }
    server.delete(KEY).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert_eq!(stored(&server).await, Some(ours));
}

#[tokio::test]
async fn what_our_lease_holds_is_ours_whatever_was_made_of_it() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let ours = stored(&server).await.unwrap();
    let key = BASE64_STANDARD.encode(KEY);
    let value = BASE64_STANDARD.encode("no node");
    change(
        &server,
        "kv/put",
        &json!({ "key": key, "value": value, "ignore_lease": true }),
    )
    .await;
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert_eq!(stored(&server).await, Some(ours));
}

#[tokio::test]
async fn changed_metadata_and_another_ttl_are_put_and_leave_one_key() {
    let server = server().await;
    let registry = registry(&server);
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry
        .register(&node_with("boot-1", "zone-b"), TTL)
        .await
        .unwrap();
    assert!(stored(&server).await.unwrap().contains("zone-b"));
    assert_eq!(leases(&server).await.len(), 1);
    registry
        .register(&node_with("boot-1", "zone-b"), SHORT)
        .await
        .unwrap();
    assert_eq!(server.list(KEYS).await.unwrap().len(), 1);
    goes(&server).await;
}

#[tokio::test]
async fn a_node_that_was_killed_comes_back_to_its_id_once_its_record_has_run_out() {
    let server = server().await;
    let killed = registry(&server);
    killed.register(&node("boot-1"), SHORT).await.unwrap();
    drop(killed);
    let restarted = registry(&server);
    let answer = restarted.register(&node("boot-2"), SHORT).await;
    assert_eq!(kind(answer), Some(ErrorKind::Conflict));
    goes(&server).await;
    restarted.register(&node("boot-2"), SHORT).await.unwrap();
    assert!(stored(&server).await.unwrap().contains("boot-2"));
}

#[tokio::test]
async fn nodes_stand_below_the_prefix_that_is_named_and_nowhere_else() {
    let server = server().await;
    let builder = Etcd::builder().address(server.address()).prefix("/team-a/");
    let (own, other) = (builder.build().unwrap(), registry(&server));
    own.register(&node("boot-1"), TTL).await.unwrap();
    let stored = server.list("").await.unwrap();
    let keys: Vec<_> = stored.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["/team-a/greeter/greeter-1"]);
    let mut watcher = own.watch("greeter").await.unwrap();
    assert_eq!(*watcher.next().await.unwrap().unwrap().nodes()[0], node("boot-1"));
    assert_eq!(own.list_services().await.unwrap(), ["greeter"]);
    assert!(other.get_service("greeter").await.unwrap().is_empty());
    assert!(other.list_services().await.unwrap().is_empty());
    own.deregister(&node("boot-1")).await.unwrap();
    assert!(server.list("").await.unwrap().is_empty());
}

#[tokio::test]
async fn of_two_that_claim_one_id_at_once_one_has_it() {
    let server = server().await;
    let handles = [registry(&server), registry(&server)];
    for round in 0..RACES {
        let boots = ["boot-1", "boot-2"].map(node);
        let (one, other) = tokio::join!(
            handles[0].register(&boots[0], TTL),
            handles[1].register(&boots[1], TTL)
        );
        let holder = match (kind(one), kind(other)) {
            (None, Some(ErrorKind::Conflict)) => 0,
            (Some(ErrorKind::Conflict), None) => 1,
            answers => panic!("{answers:?} in round {round}"),
        };
        let record = stored(&server).await.unwrap();
        assert!(record.contains(boots[holder].boot()), "{record}");
        handles[holder].deregister(&boots[holder]).await.unwrap();
    }
}

/// A node whose values have `length` characters that take six bytes each in a record.
fn large(length: usize) -> Node {
    let service = "greeter".parse().expect("a good name");
    let address = "127.0.0.1:9090".parse().expect("a good address");
    let pairs = (0..PAIRS).map(|number| (format!("key-{number}"), "\u{1}".repeat(length)));
    let node = pairs.fold(
        Node::builder(service, "greeter-1", address),
        |node, (key, value)| node.metadata(key, value),
    );
    node.build().expect("a good node")
}

#[tokio::test]
async fn the_largest_node_that_is_not_refused_comes_back_and_one_character_more_is_refused() {
    let away = Etcd::builder().address("127.0.0.1:1").build().unwrap();
    // Where nobody is, what is not refused goes no further.
    let refusal = async |length: usize| {
        let error = away.register(&large(length), TTL).await.unwrap_err();
        let refused = error.kind() != ErrorKind::Unavailable;
        assert!(
            !refused || error.kind() == ErrorKind::InvalidArgument,
            "{error:?}"
        );
        refused.then(|| error.to_string())
    };
    let fitting = largest(VALUE_LENGTH_MAX, "allowed are 1500000", refusal).await;
    let server = server().await;
    let registry = registry(&server);
    for _ in 0..2 {
        registry.register(&large(fitting), TTL).await.unwrap();
    }
    let listed = registry.get_service("greeter").await.unwrap();
    assert!(
        *listed.nodes()[0] == large(fitting),
        "{fitting} characters a value"
    );
    let error = registry.register(&large(fitting + 1), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

#[tokio::test]
async fn what_is_deregistered_leaves_neither_key_nor_lease() {
    let server = server().await;
    let (registry, other) = (registry(&server), registry(&server));
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry.deregister(&node("boot-1")).await.unwrap();
    assert_eq!(stored(&server).await, None);
    assert!(leases(&server).await.is_empty());

    // By another handle of the same process, which holds nothing.
    registry.register(&node("boot-1"), TTL).await.unwrap();
    other.deregister(&node("boot-2")).await.unwrap();
    assert!(stored(&server).await.is_some());
    other.deregister(&node("boot-1")).await.unwrap();
    assert_eq!(stored(&server).await, None);
    // The first may do so again.
    registry.deregister(&node("boot-1")).await.unwrap();
    assert!(leases(&server).await.is_empty());
}

#[tokio::test]
async fn a_call_that_is_cut_off_is_made_good_by_the_next_one() {
    let server = server().await;
    let registry = registry(&server);
    // Each cut comes one step later, until one comes too late.
    for step in 0.. {
        let node = node(&format!("boot-{step}"));
        let cut = polled(step, registry.register(&node, TTL)).await;
        registry.register(&node, TTL).await.unwrap();
        assert!(stored(&server).await.unwrap().contains(node.boot()));
        registry.deregister(&node).await.unwrap();
        assert_eq!(stored(&server).await, None);
        if !cut {
            break;
        }
    }
}

/// Whether `future` was not done after it was woken `times` times.
async fn polled(times: usize, future: impl Future<Output = Result<()>>) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if future.as_mut().poll(context).is_ready() {
            return std::task::Poll::Ready(false);
        }
        if left == 0 {
            return std::task::Poll::Ready(true);
        }
        left -= 1;
        std::task::Poll::Pending
    })
    .await
}
