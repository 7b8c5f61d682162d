//! One server: what is listed and followed of it, whatever it sends and forgets.

use std::{sync::Arc, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use micro_registry::{ErrorKind, Registry};
use micro_test_servers::{Etcd, EtcdBuilder, Shim};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{change, comes_to_yield, ends, ids, key, next, put_all, record, registry, yields};

async fn start(builder: EtcdBuilder) -> Etcd {
    builder.start().await.expect("etcd starts")
}

async fn put(etcd: &Etcd, id: &str, record: &str) {
    etcd.put(&key(id), record.as_bytes())
        .await
        .expect("etcd takes it");
}

#[tokio::test]
async fn the_changes_of_one_transaction_arrive_together() {
    let etcd = start(Etcd::builder()).await;
    let registry = registry(&etcd.address());
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert!(next(&mut watcher).await.unwrap().is_empty());
    let ids: Vec<_> = (0..25).map(|number| format!("node-{number:02}")).collect();
    put_all(&etcd, &ids).await;
    assert_eq!(next(&mut watcher).await.unwrap().len(), 25);
    // Also those of a lease that ends.
    let delete = json!({"key": BASE64_STANDARD.encode(key("node-")), "range_end": BASE64_STANDARD.encode(key("node."))});
    change(&etcd, "kv/deleterange", &delete).await;
    assert!(next(&mut watcher).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_forgotten_while_nobody_watches_is_not_missed() {
    let etcd = start(Etcd::builder()).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    for id in ["a", "b"] {
        put(&etcd, id, &record(80, 0)).await;
    }
    let mut watcher = registry.watch("greeter").await.unwrap();
    yields(&mut watcher, &["a", "b"]).await;
    // Once a change is seen, the watch stands: what is cut before is only connected anew.
    put(&etcd, "c", &record(80, 0)).await;
    yields(&mut watcher, &["a", "b", "c"]).await;
    shim.cut();
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    // The last thing that is forgotten is that a node went.
    etcd.delete(&key("a")).await.unwrap();
    put(&etcd, "d", &record(80, 0)).await;
    etcd.delete(&key("b")).await.unwrap();
    etcd.compact().await.unwrap();
    let mut watcher = comes_to_yield(&registry, &["c", "d"]).await;
    etcd.delete(&key("c")).await.unwrap();
    yields(&mut watcher, &["d"]).await;
}

#[tokio::test]
async fn a_record_that_goes_bad_between_two_watches_is_the_node_that_it_was() {
    let etcd = start(Etcd::builder()).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    for id in ["a", "b"] {
        put(&etcd, id, &record(80, 0)).await;
    }
    let mut watcher = registry.watch("greeter").await.unwrap();
    yields(&mut watcher, &["a", "b"]).await;
    put(&etcd, "c", &record(80, 0)).await;
    let before = yields(&mut watcher, &["a", "b", "c"]).await;
    shim.cut();
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    put(&etcd, "b", "no record").await;
    let fresh = crate::support::registry(&etcd.address());
    assert_eq!(ids(&fresh.get_service("greeter").await.unwrap()), ["a", "c"]);
    let mut watcher = registry.watch("greeter").await.unwrap();
    let after = next(&mut watcher).await.unwrap();
    assert_eq!(ids(&after), ["a", "b", "c"]);
    for (before, after) in before.nodes().iter().zip(after.nodes()) {
        assert!(
            Arc::ptr_eq(before, after),
            "what has not changed is not read again"
        );
    }
    etcd.delete(&key("b")).await.unwrap();
    yields(&mut watcher, &["a", "c"]).await;
}

#[tokio::test]
async fn what_was_held_back_on_the_way_is_seen() {
    let etcd = start(Etcd::builder()).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert!(next(&mut watcher).await.unwrap().is_empty());
    // Not listed, but told of: so the watch is open.
    put(&etcd, "first", &record(80, 0)).await;
    yields(&mut watcher, &["first"]).await;
    shim.stall();
    let record = record(80, 40_000);
    for number in 0..100 {
        put(&etcd, &format!("node-{number:03}"), &record).await;
    }
    shim.heal();
    while next(&mut watcher).await.expect("the watch goes on").len() < 101 {}
    put(&etcd, "last", &record).await;
    assert_eq!(next(&mut watcher).await.unwrap().len(), 102);
    assert_eq!(registry.get_service("greeter").await.unwrap().len(), 102);
}

#[tokio::test]
async fn records_of_any_length_hide_no_other() {
    let etcd = start(Etcd::builder().argument("--max-request-bytes=20000000")).await;
    let registry = registry(&etcd.address());
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert!(next(&mut watcher).await.unwrap().is_empty());
    put(&etcd, "a", &record(80, 0)).await;
    yields(&mut watcher, &["a"]).await;
    // Together longer than a message may be, and one of them is so alone.
    for number in 0..10 {
        put(&etcd, &format!("long-{number}"), &record(80, 1_400_000)).await;
    }
    put(&etcd, "longer", &record(80, 3_000_000)).await;
    put(&etcd, "longest", &record(80, 10_000_000)).await;
    put(&etcd, "z", &record(80, 0)).await;
    let long: Vec<_> = (0..10).map(|number| format!("long-{number}")).collect();
    let expected: Vec<_> = std::iter::once("a")
        .chain(long.iter().map(String::as_str))
        .chain(["z"])
        .collect();
    assert_eq!(ids(&registry.get_service("greeter").await.unwrap()), expected);
    assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
    let mut watcher = comes_to_yield(&registry, &expected).await;
    etcd.delete(&key("longest")).await.unwrap();
    etcd.delete(&key("a")).await.unwrap();
    yields(&mut watcher, &expected[1..]).await;
}

#[tokio::test]
async fn ten_thousand_nodes_are_listed_and_followed() {
    let etcd = start(Etcd::builder()).await;
    let all: Vec<_> = (0..10_000).map(|number| format!("node-{number:05}")).collect();
    put_all(&etcd, &all).await;
    let registry = registry(&etcd.address());
    let listed = registry.get_service("greeter").await.unwrap();
    assert_eq!(ids(&listed), all);
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert_eq!(next(&mut watcher).await.unwrap(), listed);
    etcd.delete(&key("node-05000")).await.unwrap();
    let snapshot = next(&mut watcher).await.unwrap();
    assert!(snapshot.len() == 9_999 && snapshot.get("node-05000").is_none());
}

#[tokio::test]
async fn services_are_named_however_many_nodes_they_have() {
    let etcd = start(Etcd::builder()).await;
    let many: Vec<_> = (0..6_000).map(|number| format!("node-{number}")).collect();
    put_all(&etcd, &many).await;
    for other in [
        "Greeter",
        "greeter-v2",
        "greeter.v2",
        "greeter0",
        "zoo",
        "a/b",
        "no-node",
    ] {
        let key = format!("/micro/registry/{other}/1");
        etcd.put(&key, b"{}").await.unwrap();
    }
    etcd.put("/micro/registry", b"{}").await.unwrap();
    etcd.put("/micro/registry0/a", b"{}").await.unwrap();
    let services = registry(&etcd.address()).list_services().await.unwrap();
    assert_eq!(
        services,
        [
            "Greeter",
            "greeter",
            "greeter-v2",
            "greeter.v2",
            "greeter0",
            "no-node",
            "zoo"
        ]
    );
}

#[tokio::test]
async fn a_server_that_lost_everything_is_followed_from_where_it_begins_anew() {
    let etcd = start(Etcd::builder()).await;
    let registry = registry(&etcd.address());
    for id in ["a", "b", "c", "d"] {
        put(&etcd, id, &record(80, 0)).await;
    }
    let mut watcher = registry.watch("greeter").await.unwrap();
    yields(&mut watcher, &["a", "b", "c", "d"]).await;
    etcd.delete(&key("d")).await.unwrap();
    yields(&mut watcher, &["a", "b", "c"]).await;
    etcd.start_wiped().await.unwrap();
    put(&etcd, "e", &record(80, 0)).await;
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    let mut watcher = comes_to_yield(&registry, &["e"]).await;
    put(&etcd, "f", &record(80, 0)).await;
    yields(&mut watcher, &["e", "f"]).await;
}

#[tokio::test]
async fn a_way_that_falls_silent_is_found_out() {
    let etcd = start(Etcd::builder()).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    let mut watcher = registry.watch("greeter").await.unwrap();
    put(&etcd, "a", &record(80, 0)).await;
    yields(&mut watcher, &["a"]).await;
    shim.stall();
    let begun = Instant::now();
    assert_eq!(ends(&mut watcher).await.kind(), ErrorKind::Unavailable);
    assert!(
        begun.elapsed() <= Duration::from_secs(25),
        "{:?}",
        begun.elapsed()
    );
    etcd.delete(&key("a")).await.unwrap();
    comes_to_yield(&registry, &[]).await;
}

#[tokio::test]
async fn what_is_broken_on_the_way_is_an_error_and_not_the_end() {
    let etcd = start(Etcd::builder()).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    for id in ["a", "b"] {
        put(&etcd, id, &record(80, 0)).await;
    }
    let watcher = comes_to_yield(&registry, &["a", "b"]).await;
    shim.corrupt();
    // One byte of each chunk is another one: what comes of that is a record that is skipped, or an error.
    for _ in 0..20 {
        let listed = registry.get_service("greeter").await;
        assert!(listed.is_err() || listed.is_ok_and(|snapshot| snapshot.len() <= 2));
        put(&etcd, "b", &record(81, 0)).await;
    }
    drop(watcher);
    shim.heal();
    shim.cut();
    let mut watcher = comes_to_yield(&registry, &["a", "b"]).await;
    etcd.delete(&key("a")).await.unwrap();
    yields(&mut watcher, &["b"]).await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_is_an_error_and_no_empty_list() {
    let etcd = start(Etcd::builder().users()).await;
    etcd.add_user("reader", "5ec7e7", "/micro/registry/greeter/")
        .await
        .unwrap();
    put(&etcd, "a", &record(80, 0)).await;
    let registry = micro_registry_etcd::Etcd::builder()
        .address(etcd.address())
        .user("reader", "5ec7e7")
        .build()
        .unwrap();
    let mut watcher = registry.watch("greeter").await.unwrap();
    yields(&mut watcher, &["a"]).await;
    for service in ["other", "greeter-v2"] {
        let error = registry.get_service(service).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!(
        registry.list_services().await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    let right = json!({
        "role": "reader",
        "key": BASE64_STANDARD.encode("/micro/registry/greeter/"),
        "range_end": BASE64_STANDARD.encode("/micro/registry/greeter0"),
    });
    change(&etcd, "auth/role/revoke", &right).await;
    let error = registry.get_service("greeter").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let mut anew = registry.watch("greeter").await.unwrap();
    assert_eq!(
        next(&mut anew).await.unwrap_err().kind(),
        ErrorKind::PermissionDenied
    );
    // Etcd lets who watches already go on.
    put(&etcd, "b", &record(80, 0)).await;
    yields(&mut watcher, &["a", "b"]).await;
}
