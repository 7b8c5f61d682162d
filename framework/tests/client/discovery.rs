//! What becomes of calls when the registry says something, or nothing.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use micro::{
    CallOptions, Client,
    registry::{Error, ErrorKind, Node, Registry, Result, Snapshot, Watcher},
};
use tokio::{runtime::Runtime, sync::watch};
use tonic::{Code, body::Body};
use tower_service::Service as _;

use crate::support::{
    Behaviour, FakeNode, HELLO, both_are_connected, client, eventually, hello, load, registry_of,
};

/// A registry that says what the test wants, or fails.
#[derive(Debug)]
struct Scripted {
    says: watch::Sender<std::result::Result<Snapshot, &'static str>>,
}

impl Scripted {
    fn new(says: std::result::Result<Snapshot, &'static str>) -> Arc<Self> {
        Arc::new(Self {
            says: watch::Sender::new(says),
        })
    }

    fn say(&self, nodes: &[&FakeNode]) {
        let _last = self.says.send_replace(Ok(Snapshot::new(
            nodes.iter().map(|fake| Arc::new(fake.node.clone())),
        )));
    }

    fn fail(&self, reason: &'static str) {
        let _last = self.says.send_replace(Err(reason));
    }
}

#[async_trait]
impl Registry for Scripted {
    async fn register(&self, _node: &Node, _ttl: Duration) -> Result<()> {
        Ok(())
    }

    async fn deregister(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    async fn get_service(&self, _service: &str) -> Result<Snapshot> {
        self.says
            .borrow()
            .clone()
            .map_err(|reason| Error::new(ErrorKind::Unavailable, reason))
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        self.get_service(service).await?;
        let mut says = self.says.subscribe();
        Ok(Watcher::spawn(|sender| async move {
            loop {
                let said = says.borrow_and_update().clone();
                sender.send(said.map_err(|reason| Error::new(ErrorKind::Unavailable, reason))?);
                if says.changed().await.is_err() {
                    return Ok(());
                }
            }
        }))
    }

    fn name(&self) -> &'static str {
        "scripted"
    }
}

#[tokio::test]
async fn nobody_is_unavailable_at_once() {
    let (_client, channel) = client(registry_of([]).await);
    let started = std::time::Instant::now();
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status.message().contains("no node of `greeter` in memory"),
        "{status}"
    );
    assert!(
        started.elapsed() < Duration::from_secs(4),
        "the deadline of 5 s was not waited for"
    );
}

#[tokio::test]
async fn a_registry_that_is_away_is_the_cause_within_the_deadline() {
    let client =
        Client::builder(Scripted::new(Err("connection refused"))).request_timeout(Duration::from_millis(300));
    let status = hello(&client.build().unwrap().channel("greeter"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("connection refused"), "{status}");
}

#[tokio::test]
async fn a_call_waits_for_a_registry_that_comes() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let registry = Scripted::new(Err("connection refused"));
    let (_client, channel) = client(registry.clone());
    let waiting = tokio::spawn(async move { hello(&channel).await });
    tokio::task::yield_now().await;
    registry.say(&[&fake]);
    assert_eq!(waiting.await.unwrap().unwrap(), "a");
}

#[tokio::test]
async fn a_registry_that_goes_away_takes_nothing() {
    let nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&nodes[0], &nodes[1]]);
    let (_client, channel) = client(registry.clone());
    both_are_connected(&channel).await;
    registry.fail("connection refused");
    let (answers, failures) = load(&channel, 200, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.len(), 2);
}

#[tokio::test]
async fn the_status_of_a_service_tells_how_old_it_is_and_why() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&fake]);
    let (_client, channel) = client(registry.clone());
    let fresh = channel.status().await.unwrap();
    assert_eq!((fresh.endpoints.len(), fresh.registry_error), (1, None));
    registry.fail("connection refused");
    eventually("the outage is told", async || {
        let status = channel.status().await.unwrap();
        let error = status.registry_error.as_deref().unwrap_or_default();
        assert_eq!(status.endpoints.len(), 1);
        error.contains("connection refused") && status.snapshot_age > fresh.snapshot_age
    })
    .await;
    registry.say(&[&fake]);
    eventually("the registry is back", async || {
        channel.status().await.unwrap().registry_error.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_wiped_registry_takes_no_node_that_lives_and_a_dead_one_goes() {
    let mut nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&nodes[0], &nodes[1]]);
    let (_client, channel) = client(registry.clone());
    both_are_connected(&channel).await;
    registry.say(&[]);
    let (answers, failures) = load(&channel, 200, 8).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(answers.len(), 2);

    nodes[0].kill().await;
    eventually("only the living one answers", async || {
        load(&channel, 50, 8).await.0.keys().eq(["b"])
    })
    .await;
    nodes[1].kill().await;
    eventually("nobody is left", async || {
        hello(&channel)
            .await
            .is_err_and(|status| status.message().contains("knows no node"))
    })
    .await;
}

#[tokio::test]
async fn what_a_wiped_registry_lost_goes_when_the_hold_down_ends() {
    let nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&nodes[0], &nodes[1]]);
    let client = Client::builder(registry.clone())
        .hold_down(Duration::from_millis(300))
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    both_are_connected(&channel).await;
    registry.say(&[]);
    eventually("nobody is left", async || hello(&channel).await.is_err()).await;
}

#[tokio::test]
async fn a_node_that_leaves_is_drained_and_not_cut() {
    let nodes = [
        FakeNode::start("a", Behaviour::Hang).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&nodes[0]]);
    let (_client, channel) = client(registry.clone());
    let in_flight = tokio::spawn({
        let channel = channel.clone();
        async move { hello(&channel).await }
    });
    eventually("the call has arrived", async || nodes[0].executions() == 1).await;
    let quick = channel.options(CallOptions::new().timeout(Duration::from_millis(100)));
    registry.say(&[&nodes[0], &nodes[1]]);
    eventually("the other one answers", async || {
        load(&quick, 4, 4).await.0.contains_key("b")
    })
    .await;
    registry.say(&[&nodes[1]]);
    eventually("no call goes to the one that left", async || {
        load(&quick, 20, 4).await.0.get("b") == Some(&20)
    })
    .await;
    assert!(!in_flight.is_finished(), "the call in flight goes on");
    in_flight.abort();
}

#[tokio::test]
async fn a_node_that_comes_back_at_another_address_is_found() {
    let mut first = FakeNode::start("a", Behaviour::Answer).await;
    let registry = Scripted::new(Ok(Snapshot::empty()));
    registry.say(&[&first]);
    let (_client, channel) = client(registry.clone());
    assert_eq!(hello(&channel).await.unwrap(), "a");
    first.kill().await;
    let second = FakeNode::start("a", Behaviour::Answer).await;
    registry.say(&[&second]);
    let (_, failures) = load(&channel, 20, 2).await;
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(second.executions(), 20);
}

#[test]
fn a_call_may_be_made_outside_of_the_runtime_that_sends_it_and_long_before() {
    let runtime = Runtime::new().unwrap();
    let fake = runtime.block_on(FakeNode::start("a", Behaviour::Answer));
    let (_client, mut channel) = client(runtime.block_on(registry_of([&fake])));
    let request = http::Request::post(HELLO)
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "30S")
        .body(Body::empty())
        .unwrap();
    let made = Instant::now();
    let answer = channel.call(request);
    let (late, status) = runtime.block_on(async {
        let wait = Duration::from_millis(20);
        eventually("a moment has passed", async || made.elapsed() >= wait).await;
        (made.elapsed(), answer.await.unwrap().status())
    });
    assert_eq!(status, 200);
    // Its time began where it was made, and the node is told what is left.
    let headers = fake.last_headers();
    let told = headers["grpc-timeout"].to_str().unwrap();
    let told: u128 = told.strip_suffix('m').unwrap().parse().unwrap();
    assert!(told + late.as_millis() <= 30_000, "{told} after {late:?}");
}
