//! A thousand services followed by one handle: over one connection, and it sees a change to each service.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use micro_registry::Registry;
use micro_test_servers::{Etcd, Shim};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time};

use crate::support::{change, record, registry};

/// Within which each change is seen, on a machine that has much else to do.
const LIMIT: Duration = Duration::from_secs(240);
const SERVICES: usize = 1_000;
/// The most changes that etcd takes in one transaction.
const CHANGES_MAX: usize = 128;

/// Writes one node of each service, at this port.
async fn write(etcd: &Etcd, port: u16) {
    let value = BASE64_STANDARD.encode(record(port, 0));
    let puts: Vec<_> = (0..SERVICES)
        .map(|number| {
            let key = BASE64_STANDARD.encode(format!("/micro/registry/{}/one", name(number)));
            json!({"requestPut": {"key": key, "value": value}})
        })
        .collect();
    for some in puts.chunks(CHANGES_MAX) {
        change(etcd, "kv/txn", &json!({"success": some})).await;
    }
}

fn name(number: usize) -> String {
    format!("service-{number:04}")
}

#[tokio::test]
async fn a_thousand_services_are_followed_over_one_connection() {
    let etcd = Etcd::builder().start().await.unwrap();
    write(&etcd, 80).await;
    let shim = Shim::start(etcd.address()).await.unwrap();
    let registry = registry(&shim.address());
    let (seen, mut sightings) = mpsc::unbounded_channel();
    let mut watches = JoinSet::new();
    for number in 0..SERVICES {
        let mut watcher = registry.watch(&name(number)).await.unwrap();
        let seen = seen.clone();
        watches.spawn(async move {
            loop {
                let snapshot = watcher.next().await.expect("it goes on").expect("no error");
                let port = snapshot.nodes().first().map(|node| node.address().port());
                seen.send((number, port)).expect("the test goes on");
            }
        });
    }
    let mut ports = vec![None; SERVICES];
    for port in [80, 81] {
        if port > 80 {
            write(&etcd, port).await;
        }
        let mut missing = SERVICES;
        let all = async {
            while missing > 0 {
                tokio::select! {
                    sighting = sightings.recv() => {
                        let (number, seen) = sighting.expect("somebody follows");
                        missing -= usize::from(seen == Some(port) && ports[number] != seen);
                        ports[number] = seen;
                        assert!(shim.connections() <= 1, "{} connections", shim.connections());
                    }
                    Some(ended) = watches.join_next() => panic!("a watch has ended: {ended:?}"),
                }
            }
        };
        time::timeout(LIMIT, all).await.expect("each is seen in time");
    }
    assert_eq!(registry.list_services().await.unwrap().len(), SERVICES);
}
