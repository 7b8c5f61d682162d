//! Three servers, of which some die, are paused, or lose each other.

use std::time::Duration;

use micro_registry::{ErrorKind, Registry, Watcher};
use micro_test_servers::{Etcd, Node};
use tokio::time::Instant;

use crate::support::{comes_to_yield, ends, ids, key, record, registry, yields};

/// Within which what one server knows is listed: 2 s for what all agree on, and some for a slow machine.
const LISTED_WITHIN: Duration = Duration::from_secs(8);

async fn start() -> Etcd {
    let etcd = Etcd::builder().members(3).start().await.expect("etcd starts");
    put(&etcd, "a").await;
    etcd
}

async fn put(etcd: &Etcd, id: &str) {
    let record = record(80, 0);
    etcd.put(&key(id), record.as_bytes())
        .await
        .expect("etcd takes it");
}

/// A watch that stands: a change came by it. The nodes are `a` and `b`.
async fn watched(etcd: &Etcd, registry: &micro_registry_etcd::Etcd) -> Watcher {
    let mut watcher = registry.watch("greeter").await.expect("a good name");
    yields(&mut watcher, &["a"]).await;
    put(etcd, "b").await;
    yields(&mut watcher, &["a", "b"]).await;
    watcher
}

/// A member that does not lead.
async fn follower(etcd: &Etcd) -> usize {
    let leader = etcd.leader().await.expect("there is a leader");
    (leader + 1) % etcd.nodes().len()
}

#[tokio::test]
async fn a_watch_outlives_the_death_of_the_leader() {
    let etcd = start().await;
    let (leader, follower) = (etcd.leader().await.unwrap(), follower(&etcd).await);
    let registry = registry(&etcd.nodes()[follower].address());
    let mut watcher = watched(&etcd, &registry).await;
    etcd.nodes()[leader].kill();
    etcd.until_ready().await.unwrap();
    put(&etcd, "c").await;
    yields(&mut watcher, &["a", "b", "c"]).await;
}

#[tokio::test]
async fn without_quorum_what_one_server_knows_is_listed_and_no_watch_goes_on() {
    let etcd = start().await;
    let registry = registry(&etcd.nodes()[0].address());
    let mut watcher = watched(&etcd, &registry).await;
    for node in &etcd.nodes()[1..] {
        node.kill();
    }
    let error = ends(&mut watcher).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("no leader"), "{error:?}");
    let begun = Instant::now();
    assert_eq!(ids(&registry.get_service("greeter").await.unwrap()), ["a", "b"]);
    assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
    assert!(begun.elapsed() <= 2 * LISTED_WITHIN, "{:?}", begun.elapsed());
    // Whoever watches is told what is known, and then that it will not be told of changes.
    let mut watcher = registry.watch("greeter").await.unwrap();
    yields(&mut watcher, &["a", "b"]).await;
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    etcd.start_again().await.unwrap();
    let mut watcher = comes_to_yield(&registry, &["a", "b"]).await;
    put(&etcd, "c").await;
    yields(&mut watcher, &["a", "b", "c"]).await;
}

#[tokio::test]
async fn a_server_that_is_paused_is_left_for_another() {
    let etcd = start().await;
    let follower = follower(&etcd).await;
    // The first is the one that is spoken to.
    let mut addresses: Vec<_> = etcd.nodes().iter().map(Node::address).collect();
    addresses.swap(0, follower);
    let registry = registry(&addresses.join(","));
    let mut watcher = watched(&etcd, &registry).await;
    etcd.nodes()[follower].pause();
    let begun = Instant::now();
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    assert!(
        begun.elapsed() <= Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    put(&etcd, "c").await;
    let mut watcher = comes_to_yield(&registry, &["a", "b", "c"]).await;
    put(&etcd, "d").await;
    yields(&mut watcher, &["a", "b", "c", "d"]).await;
    etcd.nodes()[follower].resume();
}
