//! What certainly never ran goes elsewhere, and what perhaps ran does not.

use micro::registry::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::Code;

use crate::support::{
    Behaviour, FakeNode, TTL, both_are_connected, client, eventually, hello, load, node, registry_of,
};

/// A good node and a bad one, both connected before the bad one shows what it does.
async fn good_and(bad: Behaviour) -> ([FakeNode; 2], micro::Client, micro::Channel) {
    let nodes = [
        FakeNode::start("good", Behaviour::Answer).await,
        FakeNode::start("bad", Behaviour::Answer).await,
    ];
    let (client, channel) = client(registry_of(&nodes).await);
    both_are_connected(&channel).await;
    nodes[1].tell(bad);
    (nodes, client, channel)
}

#[tokio::test]
async fn a_refused_connection_costs_no_call() {
    let good = FakeNode::start("good", Behaviour::Answer).await;
    let registry = registry_of([&good]).await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    registry
        .register(&node("gone", &gone.to_string()), TTL)
        .await
        .unwrap();
    let (_client, channel) = client(registry);
    let (_, failures) = load(&channel, 100, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
}

#[tokio::test]
async fn a_refused_stream_goes_elsewhere() {
    let (nodes, _client, channel) = good_and(Behaviour::RefuseStream).await;
    let before = nodes[0].executions();
    let (answers, failures) = load(&channel, 200, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["good"]);
    assert_eq!(nodes[0].executions() - before, 200);
}

#[tokio::test]
async fn a_node_that_refuses_a_stream_is_asked_once_however_many_connections_it_has() {
    let fake = FakeNode::with_streams("a", Behaviour::Hang, 1).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let mut hanging = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let channel = channel.clone();
        hanging.spawn(async move { hello(&channel).await });
    }
    eventually("three calls fill three connections", async || {
        fake.executions() == 3
    })
    .await;
    fake.tell(Behaviour::RefuseStream);
    hanging.shutdown().await;
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(fake.refusals(), 1);
}

#[tokio::test]
async fn a_server_of_another_service_is_dropped() {
    let (nodes, _client, channel) = good_and(Behaviour::WrongService).await;
    let (answers, failures) = load(&channel, 200, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["good"]);
    // Left alone even once it answers, until its record changes.
    nodes[1].tell(Behaviour::Answer);
    assert_eq!(load(&channel, 50, 8).await.0.len(), 1);
}

#[tokio::test]
async fn a_goaway_before_the_stream_sends_the_call_elsewhere() {
    let good = FakeNode::start("good", Behaviour::Answer).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let registry = registry_of([&good]).await;
    registry
        .register(&node("leaving", &listener.local_addr().unwrap().to_string()), TTL)
        .await
        .unwrap();
    let leaving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap(); // SETTINGS
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let length = usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            if head[3] == 1 {
                // HEADERS came: GOAWAY with last stream 0 says that it is not processed.
                stream
                    .write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                    .await
                    .unwrap();
                return stream;
            }
        }
    });
    let (_client, channel) = client(registry);
    eventually("the leaving node was picked", async || {
        let (_, failures) = load(&channel, 10, 2).await;
        assert!(failures.is_empty(), "{failures:?}");
        leaving.is_finished()
    })
    .await;
}

#[tokio::test]
async fn connections_that_end_gracefully_under_load_lose_no_call_and_run_none_twice() {
    let nodes = [
        FakeNode::start("a", Behaviour::Restless).await,
        FakeNode::start("b", Behaviour::Restless).await,
    ];
    let (_client, channel) = client(registry_of(&nodes).await);
    let (answers, failures) = load(&channel, 3000, 16).await;
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
    assert_eq!(answers.values().sum::<usize>(), 3000);
    assert_eq!(nodes.iter().map(FakeNode::executions).sum::<usize>(), 3000);
    assert!(nodes.iter().map(FakeNode::connections).sum::<usize>() > 20);
}

#[tokio::test]
async fn a_single_node_that_ends_its_connections_loses_no_call() {
    let fake = FakeNode::start("a", Behaviour::Restless).await;
    let (_client, channel) = client(registry_of([&fake]).await);
    let (answers, failures) = load(&channel, 500, 4).await;
    assert!(
        failures.is_empty(),
        "{} failed: {:?}",
        failures.len(),
        failures.first()
    );
    assert_eq!(answers.values().sum::<usize>(), 500);
}

#[tokio::test]
async fn what_perhaps_ran_is_not_run_again() {
    for behaviour in [Behaviour::Reset, Behaviour::Close] {
        let bad = FakeNode::start("bad", behaviour).await;
        let (_client, channel) = client(registry_of([&bad]).await);
        let status = hello(&channel).await.unwrap_err();
        let expected = if behaviour == Behaviour::Reset {
            Code::Internal
        } else {
            Code::Unavailable
        };
        assert_eq!(status.code(), expected, "{status}");
        assert!(status.message().contains("`bad` of `greeter`"), "{status}");
        assert_eq!(bad.executions(), 1);
    }
}

#[tokio::test]
async fn when_every_node_refuses_the_call_fails_at_once_and_says_so() {
    let nodes = [
        FakeNode::start("a", Behaviour::RefuseStream).await,
        FakeNode::start("b", Behaviour::RefuseStream).await,
    ];
    let (_client, channel) = client(registry_of(&nodes).await);
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("refused"), "{status}");
    assert!(status.message().contains("of `greeter` at"), "{status}");
}
