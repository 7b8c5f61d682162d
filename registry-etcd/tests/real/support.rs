//! What the tests have in common: nodes as keys, and what a watcher sees of them.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use micro_registry::{Error, Snapshot, Watcher};
use micro_registry_etcd::Etcd as Registry;
use micro_test_servers::Etcd;
use serde_json::{Value, json};
use tokio::time;

/// No test waits longer for what must come.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The most changes that etcd takes in one transaction.
const CHANGES_MAX: usize = 128;

/// A handle on the servers at `addresses`, separated by commas.
pub(crate) fn registry(addresses: &str) -> Registry {
    Registry::builder()
        .address(addresses)
        .build()
        .expect("good settings")
}

pub(crate) fn key(id: &str) -> String {
    format!("/micro/registry/greeter/{id}")
}

/// A record of `length` bytes or somewhat more.
pub(crate) fn record(port: u16, length: usize) -> String {
    let filling = "x".repeat(length);
    format!(r#"{{"filling":"{filling}","nodes":[{{"address":"10.0.0.7:{port}"}}]}}"#)
}

/// Writes nodes without a lease, as many as possible in one transaction.
pub(crate) async fn put_all(etcd: &Etcd, ids: &[String]) {
    for ids in ids.chunks(CHANGES_MAX) {
        let puts = ids.iter().map(|id| {
            let (key, value) = (
                BASE64_STANDARD.encode(key(id)),
                BASE64_STANDARD.encode(record(80, 0)),
            );
            json!({"requestPut": {"key": key, "value": value}})
        });
        change(etcd, "kv/txn", &json!({"success": puts.collect::<Vec<_>>()})).await;
    }
}

pub(crate) async fn change(etcd: &Etcd, path: &str, body: &Value) {
    let (status, answer) = etcd.request(path, body).await.expect("etcd answers");
    assert!(status.is_success(), "{path}: {status} {answer}");
}

pub(crate) fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().iter().map(|node| node.id()).collect()
}

/// What comes next.
pub(crate) async fn next(watcher: &mut Watcher) -> Result<Snapshot, Error> {
    let next = time::timeout(LIMIT, watcher.next())
        .await
        .expect("something comes in time");
    next.expect("the watch has not ended")
}

/// Waits until the ids are `expected`.
pub(crate) async fn yields(watcher: &mut Watcher, expected: &[&str]) -> Snapshot {
    let find = async {
        loop {
            let snapshot = next(watcher).await.expect("no error");
            if ids(&snapshot) == expected {
                return snapshot;
            }
        }
    };
    time::timeout(LIMIT, find).await.expect("seen in time")
}

/// Waits until the watch ends, and says by what.
pub(crate) async fn ends(watcher: &mut Watcher) -> Error {
    let find = async {
        loop {
            if let Err(error) = next(watcher).await {
                return error;
            }
        }
    };
    time::timeout(LIMIT, find).await.expect("it ends in time")
}

/// Watches again and again, as the framework does, until the ids are `expected`.
pub(crate) async fn comes_to_yield(registry: &Registry, expected: &[&str]) -> Watcher {
    use micro_registry::Registry as _;

    let find = async {
        loop {
            let mut watcher = registry.watch("greeter").await.expect("a good name");
            while let Ok(snapshot) = next(&mut watcher).await {
                if ids(&snapshot) == expected {
                    return watcher;
                }
            }
        }
    };
    time::timeout(LIMIT, find).await.expect("seen in time")
}
