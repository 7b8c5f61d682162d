//! What a real server sends of a history that is longer than a message may be.

use std::time::Duration;

use micro_test_servers::Etcd as Server;
use tokio::time;

use super::*;
use crate::{
    Etcd,
    follower::{Content, Stream as _},
};

/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);
const COUNT: usize = 300;

#[tokio::test]
async fn a_history_longer_than_a_message_may_be_arrives_in_parts() {
    let server = Server::builder().start().await.unwrap();
    let record = "x".repeat(MESSAGE_LENGTH_MAX * 3 / 2 / COUNT);
    for number in 0..COUNT {
        let key = format!("/micro/registry/greeter/{number}");
        server.put(&key, record.as_bytes()).await.unwrap();
    }
    let etcd = Etcd::builder().address(server.address()).build().unwrap();
    let nodes = etcd.catalogue.none("greeter".parse().unwrap());
    let mut stream = etcd.catalogue.watch(&nodes, 1).await.unwrap();
    let (mut found, mut parts) = (0, 0);
    let reading = async {
        while found < COUNT {
            if let Content::Events { events, has_more } = stream.message().await.unwrap().content {
                found += events.len();
                parts += usize::from(has_more);
                assert_eq!(has_more, found < COUNT);
            }
        }
    };
    time::timeout(LIMIT, reading).await.expect("all of it comes");
    assert!(parts > 1, "{parts}");
}
