//! What nodes say of their own health, where a client listens to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use micro::{
    Channel, Client, EndpointState, Peer, Service,
    registry::{Memory, Node, Registry},
};
use tokio::task::JoinHandle;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Behaviour, FakeNode, TTL, eventually, load, registry_of};

/// A service whose health can be set.
struct Serving {
    node: Node,
    healthy: Arc<AtomicBool>,
    running: JoinHandle<micro::Result<()>>,
}

impl Serving {
    async fn start(id: &str) -> Self {
        let (registry, healthy) = (Arc::new(Memory::default()), Arc::new(AtomicBool::new(true)));
        let checked = Arc::clone(&healthy);
        let service = Service::builder("greeter")
            .id(id)
            .registry(Arc::clone(&registry) as Arc<dyn Registry>)
            .check_interval(Duration::from_millis(20))
            .check("health", move |_cx| {
                let is_healthy = checked.load(Ordering::SeqCst);
                async move { is_healthy.then_some(()).ok_or("ill, as told") }
            })
            .build()
            .unwrap();
        let running = tokio::spawn(service.run());
        let mut watcher = registry.watch("greeter").await.unwrap();
        let node = loop {
            let snapshot = watcher.next().await.unwrap().unwrap();
            if let Some(node) = snapshot.nodes().first() {
                break node.as_ref().clone();
            }
        };
        Self {
            node,
            healthy,
            running,
        }
    }

    fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::SeqCst);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Two services, and a registry that lists both whatever their health.
async fn two() -> ([Serving; 2], Arc<Memory>) {
    let serving = [Serving::start("a").await, Serving::start("b").await];
    let registry = Arc::new(Memory::default());
    for serving in &serving {
        registry.register(&serving.node, TTL).await.unwrap();
    }
    (serving, registry)
}

/// The ids and states of all nodes, once they are these.
async fn until_states(channel: &Channel, expected: &[(&str, EndpointState)]) {
    eventually("the nodes are in these states", async || {
        let endpoints = channel.endpoints().await.unwrap();
        let states = endpoints
            .iter()
            .map(|endpoint| (endpoint.node.id(), endpoint.state));
        states.eq(expected.iter().copied())
    })
    .await;
}

/// Who answers some calls.
async fn answering(channel: &Channel) -> Vec<String> {
    let mut answering = Vec::new();
    for _ in 0..40 {
        let mut client = HealthClient::new(channel.clone());
        let answer = client.check(HealthCheckRequest::default()).await.unwrap();
        answering.push(answer.extensions().get::<Peer>().unwrap().node_id().to_owned());
    }
    answering.sort_unstable();
    answering.dedup();
    answering
}

#[tokio::test]
async fn a_node_that_says_it_does_not_serve_gets_no_calls_unless_all_say_so() {
    use EndpointState::{NotServing, Ready};
    let (serving, registry) = two().await;
    let client = Client::builder(registry).health_watch(true).build().unwrap();
    let channel = client.channel("greeter");
    until_states(&channel, &[("a", Ready), ("b", Ready)]).await;
    assert_eq!(answering(&channel).await, ["a", "b"]);
    serving[0].set_healthy(false);
    until_states(&channel, &[("a", NotServing), ("b", Ready)]).await;
    assert_eq!(answering(&channel).await, ["b"]);
    serving[1].set_healthy(false);
    until_states(&channel, &[("a", NotServing), ("b", NotServing)]).await;
    assert_eq!(answering(&channel).await, ["a", "b"]);
    serving[0].set_healthy(true);
    until_states(&channel, &[("a", Ready), ("b", NotServing)]).await;
    assert_eq!(answering(&channel).await, ["a"]);
}

#[tokio::test]
async fn a_node_that_says_it_does_not_serve_is_not_kept_against_the_registry() {
    let (serving, registry) = two().await;
    let client = Client::builder(Arc::clone(&registry) as Arc<dyn Registry>)
        .health_watch(true)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    until_states(
        &channel,
        &[("a", EndpointState::Ready), ("b", EndpointState::Ready)],
    )
    .await;
    // Both within one snapshot: the client's control task takes in what comes together.
    registry.deregister(&serving[0].node).await.unwrap();
    registry.deregister(&serving[1].node).await.unwrap();
    eventually("what is left is kept", async || {
        let endpoints = channel.endpoints().await.unwrap();
        !endpoints.is_empty() && endpoints.iter().all(|endpoint| endpoint.held)
    })
    .await;
    serving.iter().for_each(|serving| serving.set_healthy(false));
    until_states(&channel, &[]).await;
}

#[tokio::test]
async fn a_node_without_the_health_service_counts_as_one_that_serves() {
    // It answers the watch as it answers every call: with something else than a status.
    let fake = FakeNode::start("fake", Behaviour::Answer).await;
    let client = Client::builder(registry_of([&fake]).await)
        .health_watch(true)
        .build()
        .unwrap();
    let (answers, failures) = load(&client.channel("greeter"), 50, 4).await;
    assert_eq!((answers["fake"], failures.len()), (50, 0));
}
