//! Deadlines and metadata, alone and through a hop.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use micro::{
    CallContext, CallOptions, Client,
    registry::{Memory, Method, Node, Registry},
};
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::support::{Behaviour, FakeNode, TTL, client, hello, hello_with, registry_of};

/// A registry whose record of `fake` says that `Hello` is unary.
async fn with_methods(fake: &FakeNode) -> Arc<Memory> {
    let node = Node::builder(
        fake.node.service().clone(),
        fake.node.id(),
        fake.node.address().clone(),
    );
    let node = node
        .methods(vec![Method::new("greeter.Say", "Hello")])
        .build()
        .unwrap();
    let registry = Arc::new(Memory::default());
    registry.register(&node, TTL).await.unwrap();
    registry
}

/// What a request said of its timeout, in milliseconds.
fn timeout_ms(headers: &HeaderMap) -> u32 {
    let sent = headers["grpc-timeout"].to_str().unwrap();
    sent.strip_suffix('m').unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_call_that_says_its_timeout_tells_the_server() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    hello(&channel).await.unwrap();
    // Not known to be unary: the default counts here and not there.
    assert!(!fake.last_headers().contains_key("grpc-timeout"));

    let mut request = Request::new("Ada".to_owned());
    request.set_timeout(Duration::from_secs(30));
    hello_with(&channel, request).await.unwrap();
    let sent = timeout_ms(&fake.last_headers());
    assert!((20_001..=30_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn a_method_known_to_be_unary_gets_the_default_deadline_on_both_sides() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(with_methods(&fake).await);
    // What is known of the methods comes with the first snapshot.
    hello(&channel).await.unwrap();
    hello(&channel).await.unwrap();
    let sent = timeout_ms(&fake.last_headers());
    assert!((1_000..=5_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn a_deadline_that_passes_names_the_node() {
    let fake = FakeNode::start("a", Behaviour::Hang).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let channel = channel.options(CallOptions::new().timeout(Duration::from_millis(300)));
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(status.message().contains("`a` of `greeter`"), "{status}");
    assert_eq!(fake.executions(), 1);
}

#[tokio::test]
async fn the_default_deadline_ends_a_call_that_hangs() {
    let fake = FakeNode::start("a", Behaviour::Hang).await;
    let client = Client::builder(registry_of([&fake]).await).request_timeout(Duration::from_millis(300));
    let client = client.build().unwrap();
    let status = hello(&client.channel("greeter")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_handler_s_calls_inherit_what_is_left_and_the_travelling_metadata() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let metadata = HeaderMap::from_iter([("x-md-global-user".parse().unwrap(), "ada".parse().unwrap())]);
    let context = CallContext::new(Some(Instant::now() + Duration::from_secs(2)), metadata);
    let mut request = Request::new("Ada".to_owned());
    request.set_timeout(Duration::from_secs(60));
    context.scope(hello_with(&channel, request)).await.unwrap();
    let headers = fake.last_headers();
    let sent = timeout_ms(&headers);
    assert!((1..=2_000).contains(&sent), "{sent}");
    assert_eq!(headers["x-md-global-user"], "ada");
    assert_eq!(headers["micro-service"], "greeter");
}

#[tokio::test]
async fn a_call_s_own_metadata_stands_before_what_travels_and_the_service_name_before_both() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let metadata = HeaderMap::from_iter([("x-md-global-user".parse().unwrap(), "ada".parse().unwrap())]);
    let mut request = Request::new("Ada".to_owned());
    request
        .metadata_mut()
        .insert("x-md-global-user", "grace".parse().unwrap());
    request
        .metadata_mut()
        .insert("micro-service", "other".parse().unwrap());
    CallContext::new(None, metadata)
        .scope(hello_with(&channel, request))
        .await
        .unwrap();
    let headers = fake.last_headers();
    assert_eq!(
        headers.get_all("x-md-global-user").iter().collect::<Vec<_>>(),
        ["grace"]
    );
    assert_eq!(
        headers.get_all("micro-service").iter().collect::<Vec<_>>(),
        ["greeter"]
    );
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    hello(&channel).await.unwrap();
    let status = CallContext::new(Some(Instant::now()), HeaderMap::new())
        .scope(hello(&channel))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(fake.executions(), 1);
}
