//! How calls choose among nodes that differ, and which they leave out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use micro::{
    Balancer, CallInfo, CallOptions, Candidate, Channel, Client, EndpointState, Pick, Policy,
    registry::{Memory, Node, Registry},
};
use tonic::{Code, Request};

use crate::support::{Behaviour, FakeNode, TTL, eventually, hello, hello_with, load, node, registry_of};

/// Puts a node into the registry with this version and zone.
async fn describe(registry: &Memory, fake: &FakeNode, version: &str, zone: &str) {
    let node = Node::builder(
        "greeter".parse().unwrap(),
        fake.node.id(),
        fake.node.address().clone(),
    );
    let node = node.boot("boot").version(version).metadata("zone", zone);
    registry.register(&node.build().unwrap(), TTL).await.unwrap();
}

async fn fakes<const N: usize>(behaviours: [Behaviour; N]) -> Vec<FakeNode> {
    let mut fakes = Vec::new();
    for (at, behaviour) in behaviours.into_iter().enumerate() {
        fakes.push(FakeNode::start(&format!("n{at:02}"), behaviour).await);
    }
    fakes
}

/// Waits until so many nodes are ready.
async fn ready(channel: &Channel, count: usize) {
    eventually("the nodes are connected", async || {
        let endpoints = channel.endpoints().await.unwrap();
        let ready = |endpoint: &&micro::EndpointStatus| endpoint.state == EndpointState::Ready;
        endpoints.iter().filter(ready).count() == count
    })
    .await;
}

async fn call(channel: &Channel, options: CallOptions) -> Result<String, tonic::Status> {
    let mut request = Request::new("Ada".to_owned());
    request.extensions_mut().insert(options);
    hello_with(channel, request).await
}

/// Who answers so many calls.
async fn answers(channel: &Channel, options: &CallOptions, calls: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..calls {
        *answers
            .entry(call(channel, options.clone()).await.unwrap())
            .or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn calls_go_to_the_nodes_whose_version_and_metadata_they_ask_for() {
    let fakes = fakes([Behaviour::Answer; 3]).await;
    let registry = Arc::new(Memory::default());
    describe(&registry, &fakes[0], "1", "a").await;
    describe(&registry, &fakes[1], "2", "a").await;
    describe(&registry, &fakes[2], "2", "b").await;
    let client = Client::builder(registry).build().unwrap();
    let of_zone = CallOptions::new().node_metadata("zone", "a");
    let channel = client.channel("greeter").options(of_zone);
    ready(&channel, 3).await;
    let all = answers(&channel, &CallOptions::new(), 50).await;
    assert_eq!(
        all.keys().collect::<Vec<_>>(),
        ["n00", "n01"],
        "as the channel says"
    );
    let newer = answers(&channel, &CallOptions::new().version("2"), 20).await;
    assert_eq!(newer.keys().collect::<Vec<_>>(), ["n01"], "as both say");
    let elsewhere = CallOptions::new().version("2").node_metadata("zone", "b");
    let other = answers(&channel, &elsewhere, 20).await;
    assert_eq!(other.keys().collect::<Vec<_>>(), ["n02"], "as the call says");
    let status = call(&channel, CallOptions::new().version("3")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let expected = "the registry knows no node of version `3`, metadata `zone=a`";
    assert!(status.message().contains(expected), "{status}");
}

#[tokio::test]
async fn nodes_of_a_large_service_that_a_call_asks_for_are_connected() {
    let fakes = fakes([Behaviour::Answer; 12]).await;
    for wanted in [0, 5, 11] {
        let registry = Arc::new(Memory::default());
        for (at, fake) in fakes.iter().enumerate() {
            describe(&registry, fake, if at == wanted { "2" } else { "1" }, "a").await;
        }
        let client = Client::builder(registry).subset(2).build().unwrap();
        let channel = client.channel("greeter");
        let answers = answers(&channel, &CallOptions::new().version("2"), 5).await;
        assert_eq!(answers.into_keys().collect::<Vec<_>>(), [fakes[wanted].node.id()]);
    }
}

#[tokio::test]
async fn the_own_zone_comes_first_while_it_has_a_node() {
    let mut fakes = fakes([Behaviour::Answer; 3]).await;
    let registry = Arc::new(Memory::default());
    for (fake, zone) in fakes.iter().zip(["a", "b", "a"]) {
        describe(&registry, fake, "1", zone).await;
    }
    let client = Client::builder(registry).zone("a").build().unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 3).await;
    let near = answers(&channel, &CallOptions::new(), 200).await;
    // Calls look elsewhere when this machine is slow; of three nodes that are all alike each would get 67.
    assert!(near.get("n01").is_none_or(|far| *far <= 50), "{near:?}");
    let near = answers(&channel, &CallOptions::new().zone("b"), 200).await;
    assert!(near.get("n01").is_some_and(|near| *near >= 100), "{near:?}");
    let anywhere = CallOptions::new().zone("").policy(Policy::RoundRobin);
    let all = answers(&channel, &anywhere, 30).await;
    assert_eq!(all.into_values().collect::<Vec<_>>(), [10; 3]);
    fakes[0].kill().await;
    fakes[2].kill().await;
    let far = answers(&channel, &CallOptions::new(), 20).await;
    assert_eq!(far.keys().collect::<Vec<_>>(), ["n01"]);
}

#[tokio::test]
async fn calls_of_one_key_go_to_one_node() {
    let fakes = fakes([Behaviour::Answer; 5]).await;
    let registry = registry_of(&fakes).await;
    let policy = "consistent_hash".parse().unwrap();
    let client = Client::builder(registry).policy(policy).build().unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 5).await;
    let mut owners = BTreeSet::new();
    for key in 0..20 {
        let of_key = answers(&channel, &CallOptions::new().hash_key(format!("user-{key}")), 5).await;
        assert_eq!(of_key.len(), 1, "{of_key:?}");
        owners.extend(of_key.into_keys());
    }
    assert!(owners.len() >= 3, "{owners:?}");
}

#[tokio::test]
async fn a_call_can_bring_its_own_policy() {
    /// The last node, and a count of what was made.
    #[derive(Debug, Default)]
    struct Last(Arc<Mutex<Vec<usize>>>);

    impl Balancer for Last {
        fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
            self.0.lock().unwrap().push(nodes.len());
            Box::new(|nodes: &[Arc<Candidate>], _call: &CallInfo<'_>| nodes.len() - 1)
        }
    }

    let fakes = fakes([Behaviour::Answer; 3]).await;
    let registry = registry_of(&fakes).await;
    let client = Client::builder(registry).build().unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 3).await;
    let made = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&made);
    let last = Policy::custom("last", move || Box::new(Last(Arc::clone(&seen))));
    let options = CallOptions::new().policy(last);
    assert_eq!(answers(&channel, &options, 30).await["n02"], 30);
    assert_eq!(*made.lock().unwrap(), [3], "made once, and not for each call");
    let even = answers(&channel, &CallOptions::new().policy(Policy::RoundRobin), 30).await;
    assert!(even.values().eq(&[10, 10, 10]), "{even:?}");
}

#[tokio::test]
async fn a_node_whose_calls_fail_in_a_row_is_left_out_for_a_while() {
    let fakes = fakes([Behaviour::Unavailable, Behaviour::Answer, Behaviour::Answer]).await;
    let registry = registry_of(&fakes).await;
    let client = Client::builder(registry)
        .policy(Policy::RoundRobin)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 3).await;
    let (_, failures) = load(&channel, 120, 1).await;
    // The control task may take a turn or two to hear of it.
    assert!((5..=10).contains(&failures.len()), "{} of 120", failures.len());
    let endpoints = channel.endpoints().await.unwrap();
    assert_eq!(endpoints[0].state, EndpointState::Ejected);
    assert!(endpoints[0].ejected_for > Duration::ZERO);
    // Not that they failed alone, but with what.
    let error = endpoints[0].last_error.as_deref().unwrap();
    assert!(error.ends_with("UNAVAILABLE: no such name"), "{error}");
    fakes[0].tell(Behaviour::Answer);
    eventually("it is picked again", async || {
        load(&channel, 30, 1).await.0.len() == 3
    })
    .await;
}

#[tokio::test]
async fn when_most_nodes_fail_all_are_used() {
    let fakes = fakes([Behaviour::Unavailable, Behaviour::Unavailable, Behaviour::Answer]).await;
    let registry = registry_of(&fakes).await;
    let client = Client::builder(registry)
        .policy(Policy::RoundRobin)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 3).await;
    load(&channel, 60, 1).await;
    eventually("two are known to fail", async || {
        let endpoints = channel.endpoints().await.unwrap();
        endpoints
            .iter()
            .filter(|endpoint| endpoint.state == EndpointState::Ejected)
            .count()
            == 2
    })
    .await;
    let before: Vec<_> = fakes.iter().map(FakeNode::executions).collect();
    load(&channel, 30, 1).await;
    for (fake, before) in fakes.iter().zip(before) {
        assert_eq!(fake.executions() - before, 10, "{}", fake.node.id());
    }
}

#[tokio::test]
async fn a_node_that_stops_answering_drops_out_of_the_picks() {
    let fakes = fakes([Behaviour::Answer; 3]).await;
    let client = Client::builder(registry_of(&fakes).await)
        .request_timeout(Duration::from_secs(2))
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 3).await;
    load(&channel, 300, 4).await;
    fakes[0].tell(Behaviour::Hang);
    let before = fakes[0].executions();
    let (answered, failures) = load(&channel, 2000, 4).await;
    let sent = fakes[0].executions() - before;
    assert!(sent <= 20, "{sent} of 2000 calls were sent to it");
    assert_eq!(failures.len(), sent);
    assert_eq!(answered.values().sum::<usize>(), 2000 - sent);
}

#[tokio::test]
async fn endpoints_tell_what_is_known_of_each_node() {
    let good = FakeNode::start("good", Behaviour::Answer).await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let registry = registry_of([&good]).await;
    registry.register(&node("bad", &closed), TTL).await.unwrap();
    let client = Client::builder(registry).build().unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 1).await;
    let endpoints = channel.endpoints().await.unwrap();
    let ids: Vec<_> = endpoints.iter().map(|endpoint| endpoint.node.id()).collect();
    assert_eq!(ids, ["bad", "good"]);
    assert_ne!(endpoints[0].state, EndpointState::Ready);
    let error = endpoints[0].last_error.as_deref().unwrap();
    assert!(error.starts_with("connect: "), "{error}");
    assert_eq!((endpoints[1].connections, endpoints[1].in_flight), (1, 0));
    let none = client.channel("bad name").endpoints().await.unwrap_err();
    assert_eq!(none.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn endpoints_tell_of_the_calls_in_flight_how_long_they_take_and_how_the_last_one_failed() {
    let fake = FakeNode::start("a", Behaviour::Answer).await;
    let client = Client::builder(registry_of([&fake]).await).build().unwrap();
    let channel = client.channel("greeter");
    ready(&channel, 1).await;
    let look = async || channel.endpoints().await.unwrap().remove(0);
    hello(&channel).await.unwrap();
    assert!(look().await.latency > Duration::ZERO);
    assert_eq!((look().await.in_flight, look().await.last_error), (0, None));

    fake.tell(Behaviour::Hang);
    let (before, waiting) = (fake.executions(), channel.clone());
    let call = tokio::spawn(async move { hello(&waiting).await });
    eventually("the node has the call", async || fake.executions() > before).await;
    assert_eq!(look().await.in_flight, 1);
    call.abort();
    eventually("the call is given up", async || look().await.in_flight == 0).await;

    fake.tell(Behaviour::Unavailable);
    hello(&channel).await.unwrap_err();
    let failed = look().await;
    assert_eq!(failed.last_error.as_deref(), Some("UNAVAILABLE: no such name"));
    fake.tell(Behaviour::Answer);
    eventually("an answer comes, and the failure grows old", async || {
        hello(&channel).await.unwrap();
        look().await.last_error_age > failed.last_error_age
    })
    .await;
}
