//! The registry on a real network: the loopback interface of this host.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::time::Duration;

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
