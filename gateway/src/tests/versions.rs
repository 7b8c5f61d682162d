//! What holds while versions of a service come and go.

use std::{sync::Arc, time::Duration};

use http::Request;
use micro::registry::{Memory, Node, Registry};
use micro_dynamic::fake::{Fake, Reflection, pool};
use prost_reflect::DescriptorPool;

use super::support::{gateway, send, until};
use crate::{Gateway, Settings};

const TTL: Duration = Duration::from_secs(600);

/// The test protos before they had this method.
fn without(method: &str) -> DescriptorPool {
    let pool = pool();
    let files = pool.file_descriptor_protos().cloned().map(|mut file| {
        for service in &mut file.service {
            service.method.retain(|known| known.name() != method);
        }
        file
    });
    DescriptorPool::from_file_descriptor_set(prost_types::FileDescriptorSet {
        file: files.collect(),
    })
    .unwrap()
}

fn node(fake: &Fake, version: &str, boot: &str) -> Node {
    let address = fake.address().to_string().parse().unwrap();
    let id = format!("shop-{version}-{boot}");
    Node::builder("shop".parse().unwrap(), id, address)
        .version(version)
        .boot(boot)
        .build()
        .unwrap()
}

async fn status(gateway: &Gateway, path: &str) -> u16 {
    send(gateway, Request::post(path), r#"{"name":"Ada"}"#)
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn a_method_comes_and_goes_with_the_versions_that_have_it() {
    let registry = Arc::new(Memory::default());
    let old = Fake::start_with(Reflection::V1, without("Look")).await.unwrap();
    let new = Fake::start(Reflection::V1).await.unwrap();
    let (old_node, new_node) = (node(&old, "1.9", "a"), node(&new, "1.10", "b"));
    registry.register(&old_node, TTL).await.unwrap();
    let gateway = gateway(registry.clone(), Settings::exporting(["shop"]).unwrap());
    assert_eq!(status(&gateway, "/shop/shop/order").await, 200);
    assert_eq!(status(&gateway, "/shop/shop/look").await, 404);

    registry.register(&new_node, TTL).await.unwrap();
    until("the new method is found", || async {
        status(&gateway, "/shop/shop/look").await == 200
    })
    .await;
    // Only the nodes that have it are called.
    for _ in 0..20 {
        assert_eq!(status(&gateway, "/shop/shop/look").await, 200);
    }
    assert_eq!((old.reflections(), new.reflections()), (1, 1));

    registry.deregister(&new_node).await.unwrap();
    drop(new);
    until("the method is gone", || async {
        status(&gateway, "/shop/shop/look").await == 404
    })
    .await;
    assert_eq!(status(&gateway, "/shop/shop/order").await, 200);
    assert_eq!(old.reflections(), 1);
}

#[tokio::test]
async fn another_program_of_the_same_version_is_described_anew() {
    let registry = Arc::new(Memory::default());
    let old = Fake::start_with(Reflection::V1, without("Look")).await.unwrap();
    let new = Fake::start(Reflection::V1).await.unwrap();
    registry.register(&node(&old, "1", "a"), TTL).await.unwrap();
    let gateway = gateway(registry.clone(), Settings::exporting(["shop"]).unwrap());
    assert_eq!(status(&gateway, "/shop/shop/look").await, 404);
    registry.register(&node(&new, "1", "b"), TTL).await.unwrap();
    until("the new node is called", || async {
        status(&gateway, "/shop/shop/order").await;
        new.calls() > 0
    })
    .await;
    registry.deregister(&node(&old, "1", "a")).await.unwrap();
    drop(old);
    until("the new method is found", || async {
        status(&gateway, "/shop/shop/look").await == 200
    })
    .await;
}
