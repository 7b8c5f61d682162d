//! Tests of sessions on the loopback interface, which look behind the registry's surface.

use std::time::Duration;

use micro_registry::{Node, Registry};

use super::*;
use crate::Mdns;

const TTL: Duration = Duration::from_secs(900);
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(60);

fn port() -> u16 {
    fastrand::u16(10_000..20_000)
}

fn registry(port: u16) -> Mdns {
    Mdns::builder()
        .address(format!("127.0.0.1:{port}"))
        .build()
        .unwrap()
}

fn node(boot: &str, weight: &str) -> Node {
    let builder = Node::builder("greeter".parse().unwrap(), "a", "127.0.0.1:9090".parse().unwrap());
    builder.boot(boot).metadata("weight", weight).build().unwrap()
}

async fn until(session: &Session, wanted: impl Fn(&Directory) -> bool) {
    let mut directory = session.shared.directory.subscribe();
    let there = look(&mut directory, |directory| {
        if wanted(directory) {
            Look::Is(())
        } else {
            Look::Wait
        }
    });
    time::timeout(LIMIT, there).await.expect("in time").unwrap();
}

async fn rest(registry: &Mdns, node: &Node) {
    registry.register(node, TTL).await.unwrap();
    let session = registry.session();
    assert!(session.shared.directory.borrow().listening.is_some());
    for _ in 0..3 {
        registry.register(node, TTL).await.unwrap();
    }
    until(&session, |directory| directory.listening.is_none()).await;
}

#[tokio::test]
async fn who_only_announces_stops_listening_and_is_found_all_the_same() {
    let port = port();
    let (holder, newcomer) = (registry(port), registry(port));
    rest(&holder, &node("1", "1")).await;
    let error = newcomer.register(&node("2", "1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(
        *newcomer.get_service("greeter").await.unwrap().nodes()[0],
        node("1", "1")
    );
    // Renewing does not wake it; a change does, because it must be heard.
    holder.register(&node("1", "1"), TTL).await.unwrap();
    assert!(holder.session().shared.directory.borrow().listening.is_none());
    holder.register(&node("1", "2"), TTL).await.unwrap();
    assert!(holder.session().shared.directory.borrow().listening.is_some());
    assert_eq!(
        registry(port).get_service("greeter").await.unwrap().nodes()[0].metadata()["weight"],
        "2"
    );
}

#[tokio::test]
async fn who_rests_listens_again_once_it_is_asked_and_from_then_on() {
    let port = port();
    let (resting, other) = (registry(port), registry(port));
    rest(&resting, &node("1", "1")).await;
    let mut watcher = resting.watch("orders").await.unwrap();
    assert!(watcher.next().await.unwrap().unwrap().is_empty());
    assert_eq!(resting.get_service("greeter").await.unwrap().len(), 1);
    let order = Node::builder("orders".parse().unwrap(), "b", "127.0.0.1:9090".parse().unwrap());
    other.register(&order.build().unwrap(), TTL).await.unwrap();
    let found = time::timeout(LIMIT, watcher.next()).await.expect("in time");
    assert_eq!(found.unwrap().unwrap().len(), 1);
    resting.deregister(&node("1", "1")).await.unwrap();
    assert!(resting.get_service("greeter").await.unwrap().is_empty());
    assert!(resting.session().shared.directory.borrow().listening.is_some());
}

#[tokio::test]
async fn a_session_that_ends_tells_all_who_wait_and_the_next_call_has_another() {
    let registry = registry(port());
    registry.get_service("greeter").await.unwrap();
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert!(watcher.next().await.unwrap().unwrap().is_empty());
    registry.session().task.abort();
    let ended = time::timeout(LIMIT, watcher.next()).await.expect("in time");
    assert_eq!(ended.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_daemon_that_ends_ends_the_session() {
    let registry = registry(port());
    let mut watcher = registry.watch("greeter").await.unwrap();
    registry.session().shared.connected().await.unwrap().stop();
    let ended = async {
        loop {
            if let Err(error) = watcher.next().await.unwrap() {
                return error;
            }
        }
    };
    let error = time::timeout(LIMIT, ended).await.expect("in time");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    registry.register(&node("1", "1"), TTL).await.unwrap();
}
