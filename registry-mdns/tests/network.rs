//! The registry on a real network: the loopback interface of this host.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{sync::Arc, time::Duration};

use micro_registry::{ErrorKind, Node, Registry, Snapshot, Watcher};
use micro_registry_mdns::Mdns;
use tokio::time;

const TTL: Duration = Duration::from_secs(30);
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(60);

/// A registry on a port of its own, so that tests do not hear each other.
fn registry(port: u16) -> Mdns {
    Mdns::builder()
        .address(format!("127.0.0.1:{port}"))
        .build()
        .unwrap()
}

/// A port outside the range from which the system gives ports to others.
fn port() -> u16 {
    fastrand::u16(10_000..32_000)
}

fn node(service: &str, id: &str) -> Node {
    Node::builder(service.parse().unwrap(), id, "127.0.0.1:9090".parse().unwrap())
        .boot(format!("boot of {id}"))
        .build()
        .unwrap()
}

async fn until(watcher: &mut Watcher, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let find = async {
        loop {
            let snapshot = watcher.next().await.expect("the watch goes on").unwrap();
            if wanted(&snapshot) {
                return snapshot;
            }
        }
    };
    time::timeout(LIMIT, find).await.expect("in time")
}

#[tokio::test]
async fn a_node_is_seen_by_another_handle_and_gone_after_its_goodbye() {
    let port = port();
    let (announcing, browsing) = (registry(port), registry(port));
    let mut watcher = browsing.watch("greeter").await.unwrap();
    assert!(until(&mut watcher, |_| true).await.is_empty());
    announcing.register(&node("greeter", "a"), TTL).await.unwrap();
    let snapshot = until(&mut watcher, |snapshot| !snapshot.is_empty()).await;
    assert_eq!(*snapshot.nodes()[0], node("greeter", "a"));
    assert_eq!(announcing.get_service("greeter").await.unwrap(), snapshot);
    assert_eq!(browsing.list_services().await.unwrap(), ["greeter"]);
    announcing.deregister(&node("greeter", "a")).await.unwrap();
    assert!(announcing.get_service("greeter").await.unwrap().is_empty());
    until(&mut watcher, Snapshot::is_empty).await;
    drop(browsing);
    let error = watcher.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_node_that_does_not_fit_is_refused_and_one_that_just_fits_arrives() {
    let with = |length: usize| {
        let node = Node::builder("greeter".parse().unwrap(), "a", "127.0.0.1:9090".parse().unwrap());
        node.metadata("long", "x".repeat(length)).build().unwrap()
    };
    let away = Mdns::builder().address("no-such-interface").build().unwrap();
    let error = away.register(&with(1_300), TTL).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::InvalidArgument,
        "before anything is sent"
    );
    let mut length = 1_300;
    while away.register(&with(length), TTL).await.unwrap_err().kind() == ErrorKind::InvalidArgument {
        length -= 1;
    }
    assert!(length > 1_100, "{length}");
    let port = port();
    let (announcing, browsing) = (registry(port), registry(port));
    announcing.register(&with(length), TTL).await.unwrap();
    let mut watcher = browsing.watch("greeter").await.unwrap();
    let snapshot = until(&mut watcher, |snapshot| !snapshot.is_empty()).await;
    assert_eq!(*snapshot.nodes()[0], with(length));
}

#[tokio::test]
async fn of_two_that_claim_one_id_at_once_one_stays() {
    let port = port();
    let (first, second, browsing) = (registry(port), registry(port), registry(port));
    let node = |boot: &str| {
        let node = Node::builder("greeter".parse().unwrap(), "a", "127.0.0.1:9090".parse().unwrap());
        node.boot(boot).build().unwrap()
    };
    let (a, b) = (node("1"), node("2"));
    let renew = async || tokio::join!(first.register(&a, TTL), second.register(&b, TTL));
    // Both may get through at first; the next renewal decides, once each has heard the other.
    let winner = time::timeout(LIMIT, async {
        loop {
            match renew().await {
                (Ok(()), Err(error)) if error.kind() == ErrorKind::Conflict => return &a,
                (Err(error), Ok(())) if error.kind() == ErrorKind::Conflict => return &b,
                (Ok(()), Ok(())) => tokio::task::yield_now().await,
                other => panic!("{other:?}"),
            }
        }
    });
    let winner = winner.await.expect("in time");
    let mut watcher = browsing.watch("greeter").await.unwrap();
    until(&mut watcher, |snapshot| {
        snapshot.nodes().iter().map(|node| &**node).eq([winner])
    })
    .await;
}

#[tokio::test]
async fn whoever_drops_the_registry_has_said_goodbye() {
    let port = port();
    let (announcing, browsing) = (registry(port), registry(port));
    announcing.register(&node("greeter", "a"), TTL).await.unwrap();
    let mut watcher = browsing.watch("greeter").await.unwrap();
    assert_eq!(until(&mut watcher, |_| true).await.len(), 1);
    drop(announcing);
    until(&mut watcher, Snapshot::is_empty).await;
}

#[test]
fn a_registry_outlives_the_runtime_it_was_first_used_on() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let registry = registry(port());
    let node = node("greeter", "a");
    runtime().block_on(registry.register(&node, TTL)).unwrap();
    // The task that the first runtime ran is gone with it, and with the task what was announced.
    let again = runtime();
    assert!(
        again
            .block_on(registry.get_service("greeter"))
            .unwrap()
            .is_empty()
    );
    again.block_on(registry.register(&node, TTL)).unwrap();
    assert_eq!(again.block_on(registry.get_service("greeter")).unwrap().len(), 1);
}

#[tokio::test]
async fn a_port_that_another_program_keeps_for_itself_is_unavailable_with_the_cause() {
    let held = std::net::UdpSocket::bind(("0.0.0.0", port())).unwrap();
    let registry = registry(held.local_addr().unwrap().port());
    let error = registry.list_services().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("in use"), "{error}: {cause}");
    drop(held);
    assert!(
        registry.list_services().await.unwrap().is_empty(),
        "the next call connects"
    );
}

#[tokio::test]
async fn a_browser_that_could_not_read_for_a_while_catches_up() {
    const NODES: usize = 100;
    const ROUNDS: usize = 12;
    let port = port();
    let announcing = Arc::new(registry(port));
    let changed = |id: usize, round: usize| {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), id.to_string(), address);
        node.metadata("round", round.to_string()).build().unwrap()
    };
    // Its runtime stands still between the calls, as a control runtime that is blocked.
    let blocked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let browsing = registry(port);
    let (blocked, browsing, mut watcher) = tokio::task::spawn_blocking(move || {
        let watcher = blocked.block_on(browsing.watch("greeter")).unwrap();
        (blocked, browsing, watcher)
    })
    .await
    .unwrap();
    for round in 0..=ROUNDS {
        let mut registering = tokio::task::JoinSet::new();
        for id in 0..NODES {
            let (announcing, node) = (Arc::clone(&announcing), changed(id, round));
            registering.spawn(async move { announcing.register(&node, TTL).await });
        }
        while let Some(registered) = registering.join_next().await {
            registered.unwrap().unwrap();
        }
    }
    let last = Snapshot::new((0..NODES).map(|id| Arc::new(changed(id, ROUNDS))));
    tokio::task::spawn_blocking(move || {
        blocked.block_on(until(&mut watcher, |snapshot| *snapshot == last));
        drop(browsing);
    })
    .await
    .unwrap();
}
