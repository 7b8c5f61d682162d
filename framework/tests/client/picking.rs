//! Which node a call goes to.

use std::{collections::BTreeSet, sync::Arc};

use micro::{CallOptions, Client, ClientBuilder, Policy, registry::Registry};
use tonic::{Code, Request};

use crate::support::{
    Behaviour, FakeNode, TTL, both_are_connected, client, eventually, hello, hello_with, load, node,
    registry_of,
};

#[tokio::test]
async fn every_policy_spreads_calls_over_all_nodes() {
    for policy in [Policy::LeastLoaded, Policy::RoundRobin, Policy::Random] {
        let nodes = [
            FakeNode::start("a", Behaviour::Answer).await,
            FakeNode::start("b", Behaviour::Answer).await,
        ];
        let client = Client::builder(registry_of(&nodes).await)
            .policy(policy.clone())
            .build()
            .unwrap();
        let channel = client.channel("greeter");
        both_are_connected(&channel).await;
        let (answers, failures) = load(&channel, 1000, 16).await;
        assert!(failures.is_empty(), "{failures:?}");
        for (id, count) in &answers {
            assert!(
                (400..=600).contains(count),
                "{policy:?}: {id} answered {count} of 1000"
            );
        }
    }
}

#[tokio::test]
async fn a_killed_node_is_not_picked_and_its_calls_in_flight_name_it() {
    let mut nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let (_client, channel) = client(registry_of(&nodes).await);
    both_are_connected(&channel).await;
    nodes[0].kill().await;
    let (answers, failures) = load(&channel, 200, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_node_that_never_speaks_is_never_picked() {
    // The kernel accepts for it, as for a stopped process.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = FakeNode::start("good", Behaviour::Answer).await;
    let registry = registry_of([&good]).await;
    registry
        .register(&node("silent", &silent.local_addr().unwrap().to_string()), TTL)
        .await
        .unwrap();
    let (_client, channel) = client(registry);
    let (answers, failures) = load(&channel, 100, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn a_call_can_name_its_node() {
    let nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let (_client, channel) = client(registry_of(&nodes).await);
    for id in ["a", "b", "a"] {
        let mut request = Request::new("Ada".to_owned());
        request.extensions_mut().insert(CallOptions::new().node(id));
        assert_eq!(hello_with(&channel, request).await.unwrap(), id);
    }
    let status = hello(&channel.clone().options(CallOptions::new().node("nobody")))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("no node `nobody`"), "{status}");
}

#[tokio::test]
async fn of_a_large_service_a_subset_is_connected_and_any_node_can_be_named() {
    let mut nodes = Vec::new();
    for at in 0..12 {
        nodes.push(FakeNode::start(&format!("n{at:02}"), Behaviour::Answer).await);
    }
    let client = Client::builder(registry_of(&nodes).await)
        .subset(3)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    eventually("the subset is connected", async || {
        load(&channel, 50, 8).await.0.len() == 3
    })
    .await;
    let (answers, _) = load(&channel, 300, 8).await;
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert_eq!(nodes.iter().map(FakeNode::connections).sum::<usize>(), 3);

    let outside = nodes.iter().find(|fake| fake.connections() == 0).unwrap();
    let mut request = Request::new("Ada".to_owned());
    request
        .extensions_mut()
        .insert(CallOptions::new().node(outside.node.id()));
    assert_eq!(hello_with(&channel, request).await.unwrap(), outside.node.id());
}

#[tokio::test]
async fn what_stands_in_for_nodes_of_the_subset_is_let_go_when_they_are_back() {
    let mut nodes = Vec::new();
    for at in 0..8 {
        nodes.push(FakeNode::start(&format!("n{at}"), Behaviour::Answer).await);
    }
    let client = Client::builder(registry_of(&nodes).await)
        .subset(2)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    let used = async || load(&channel, 40, 4).await.0.into_keys().collect::<BTreeSet<_>>();
    eventually("the subset is connected", async || used().await.len() == 2).await;
    let subset = used().await;

    let is_of_subset = |fake: &&mut FakeNode| subset.contains(fake.node.id());
    for fake in nodes.iter_mut().filter(is_of_subset) {
        fake.kill().await;
    }
    eventually("two others stand in", async || {
        let standing_in = used().await;
        standing_in.len() == 2 && standing_in.is_disjoint(&subset)
    })
    .await;
    for fake in nodes.iter_mut().filter(is_of_subset) {
        fake.revive().await;
    }
    eventually("the subset alone is used", async || used().await == subset).await;
}

/// The nodes that 16 clients use together, of 16 nodes two each.
async fn used_by_many(adjust: impl Fn(ClientBuilder) -> ClientBuilder) -> BTreeSet<String> {
    let mut nodes = Vec::new();
    for at in 0..16 {
        nodes.push(FakeNode::start(&format!("n{at:02}"), Behaviour::Answer).await);
    }
    let registry = registry_of(&nodes).await;
    let mut used = BTreeSet::new();
    for _ in 0..16 {
        let client = Client::builder(Arc::clone(&registry) as Arc<dyn Registry>).subset(2);
        let client = adjust(client).build().unwrap();
        used.extend(load(&client.channel("greeter"), 20, 4).await.0.into_keys());
    }
    used
}

#[tokio::test]
async fn clients_choose_different_subsets() {
    let used = used_by_many(|client| client).await;
    // 16 clients with one and the same subset would use 2.
    assert!(used.len() > 6, "{used:?}");
}

#[tokio::test]
async fn clients_of_one_seed_choose_the_same_subset() {
    let used = used_by_many(|client| client.subset_seed("orders-1")).await;
    assert_eq!(used.len(), 2, "{used:?}");
}

#[tokio::test]
async fn a_full_node_gets_more_connections_up_to_the_limit_and_further_calls_wait() {
    let fake = FakeNode::with_streams("a", Behaviour::Hang, 2).await;
    let client = Client::builder(registry_of([&fake]).await)
        .connections_per_node(3)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let channel = channel.clone();
        hanging.spawn(async move { hello(&channel).await });
    }
    eventually("six calls fill three connections", async || {
        fake.executions() == 6
    })
    .await;
    assert_eq!(fake.connections(), 3);

    fake.tell(Behaviour::Answer);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { hello(&channel).await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    hanging.abort_all();
    assert_eq!(waiting.await.unwrap().unwrap(), "a");
    assert_eq!(fake.connections(), 3);
}

#[tokio::test]
async fn what_a_node_answers_is_left_as_it_is_and_names_the_node() {
    let fake = FakeNode::start("a", Behaviour::Fail).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "no such name")
    );
    assert_eq!(status.metadata().get("micro-node").unwrap(), "a");
}

#[tokio::test]
async fn a_bad_name_is_an_invalid_argument() {
    let (client, _) = client(registry_of([]).await);
    let status = hello(&client.channel("../agent")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
