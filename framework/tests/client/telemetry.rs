//! What a client tells of its calls, nodes and connections.

use std::{sync::Arc, time::Duration};

use micro::{
    CallOptions, Channel, Client, Policy, Telemetry,
    registry::{Idempotency, Registry},
};
use tonic::Code;

use crate::support::{
    Behaviour, FakeNode, both_are_connected, eventually, hello, load, registry_of, with_methods,
};

/// The value of a series, `name{labels}` as it is rendered; `None` where there is none.
fn value(telemetry: &Telemetry, series: &str) -> Option<f64> {
    let text = telemetry.render();
    let of_series = |line: &str| Some(line.strip_prefix(series)?.strip_prefix(' ')?.to_owned());
    text.lines()
        .find_map(of_series)
        .map(|value| value.parse().unwrap())
}

async fn told(telemetry: &Telemetry, series: &str, expected: f64) {
    let mut last = None;
    eventually(series, async || {
        last = value(telemetry, series);
        last == Some(expected)
    })
    .await;
}

fn calls(code: &str) -> String {
    let error = match code {
        "OK" => String::new(),
        code => format!(",error_type=\"{code}\""),
    };
    format!(
        "rpc_client_call_duration_seconds_count{{rpc_system_name=\"grpc\",rpc_method=\"greeter.Say/Hello\",\
         server_address=\"greeter\",micro_service=\"greeter\",rpc_response_status_code=\"{code}\"{error}}}"
    )
}

fn of_greeter(name: &str) -> String {
    format!("micro_client_{name}{{micro_service=\"greeter\"}}")
}

fn by(name: &str, label: &str, value: &str) -> String {
    format!("micro_client_{name}{{micro_service=\"greeter\",micro_{label}=\"{value}\"}}")
}

/// A client of these nodes that records.
async fn recording(registry: Arc<dyn Registry>) -> (Telemetry, Client, Channel) {
    let telemetry = Telemetry::new();
    let client = Client::builder(registry)
        .policy(Policy::RoundRobin)
        .telemetry(&telemetry)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    (telemetry, client, channel)
}

/// Two nodes, both connected, of an idempotent method; then the second does what it is told.
async fn good_and(bad: Behaviour) -> ([FakeNode; 2], Telemetry, Channel) {
    let mut nodes = [
        FakeNode::start("good", Behaviour::Answer).await,
        FakeNode::start("bad", Behaviour::Answer).await,
    ];
    for fake in &mut nodes {
        fake.node = with_methods(&fake.node, Idempotency::Idempotent);
    }
    let (telemetry, _client, channel) = recording(registry_of(&nodes).await).await;
    both_are_connected(&channel).await;
    nodes[1].tell(bad);
    (nodes, telemetry, channel)
}

#[tokio::test]
async fn calls_are_timed_by_method_and_by_how_they_ended() {
    let node = FakeNode::start("a", Behaviour::Answer).await;
    let (telemetry, _client, channel) = recording(registry_of([&node]).await).await;
    for _ in 0..3 {
        hello(&channel).await.unwrap();
    }
    node.tell(Behaviour::Fail);
    hello(&channel).await.unwrap_err();
    node.tell(Behaviour::BreakAfterMessage);
    hello(&channel).await.unwrap_err();
    node.tell(Behaviour::Hang);
    let brief = channel
        .clone()
        .options(CallOptions::new().timeout(Duration::from_millis(20)));
    let late = hello(&brief).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    let before = node.executions();
    let left = tokio::spawn(async move { hello(&channel).await });
    eventually("the node has the call", async || node.executions() > before).await;
    left.abort();

    for (code, expected) in [
        ("OK", 3.0),
        ("INVALID_ARGUMENT", 1.0),
        ("UNAVAILABLE", 1.0),
        ("DEADLINE_EXCEEDED", 1.0),
        ("CANCELLED", 1.0),
    ] {
        told(&telemetry, &calls(code), expected).await;
    }
    assert_eq!(
        value(&telemetry, &by("attempts_total", "cause", "call")),
        Some(7.0)
    );
    assert_eq!(
        value(&telemetry, &by("attempts_total", "cause", "failed")),
        Some(0.0)
    );
}

#[tokio::test]
async fn what_is_sent_again_is_told_with_its_cause() {
    let (_nodes, telemetry, channel) = good_and(Behaviour::RefuseStream).await;
    load(&channel, 20, 1).await;
    let unsent = value(&telemetry, &by("attempts_total", "cause", "unsent")).unwrap();
    assert!(unsent >= 5.0, "{unsent}");
    assert_eq!(
        value(&telemetry, &by("attempts_total", "cause", "failed")),
        Some(0.0)
    );

    let (_nodes, telemetry, channel) = good_and(Behaviour::Unavailable).await;
    load(&channel, 8, 1).await;
    let failed = value(&telemetry, &by("attempts_total", "cause", "failed")).unwrap();
    assert!(failed >= 3.0, "{failed}");
    assert_eq!(
        value(&telemetry, &of_greeter("budget_exhausted_total")),
        Some(0.0)
    );

    let (_nodes, telemetry, channel) = good_and(Behaviour::Hang).await;
    let hedged = channel.options(CallOptions::new().hedge_delay(Duration::from_millis(20)));
    load(&hedged, 8, 1).await;
    let hedges = value(&telemetry, &by("attempts_total", "cause", "hedge")).unwrap();
    assert!(hedges >= 3.0, "{hedges}");
}

#[tokio::test]
async fn a_budget_that_is_used_up_and_a_node_that_is_left_out_are_told() {
    let (nodes, telemetry, channel) = good_and(Behaviour::Unavailable).await;
    told(&telemetry, &of_greeter("left_out_nodes"), 0.0).await;
    load(&channel, 30, 1).await;
    told(&telemetry, &of_greeter("ejections_total"), 1.0).await;
    told(&telemetry, &of_greeter("left_out_nodes"), 1.0).await;
    told(&telemetry, &of_greeter("ready_nodes"), 2.0).await;
    nodes[0].tell(Behaviour::Unavailable);
    load(&channel, 200, 8).await;
    let exhausted = value(&telemetry, &of_greeter("budget_exhausted_total")).unwrap();
    assert!(exhausted > 0.0, "{exhausted}");
}

#[tokio::test]
async fn nodes_and_connections_at_the_moment_are_told() {
    let mut nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let registry = registry_of(&nodes).await;
    let (telemetry, _client, channel) = recording(Arc::clone(&registry) as Arc<dyn Registry>).await;
    hello(&channel).await.unwrap();
    told(&telemetry, &of_greeter("known_nodes"), 2.0).await;
    told(&telemetry, &of_greeter("ready_nodes"), 2.0).await;
    told(&telemetry, &of_greeter("open_connections"), 2.0).await;
    told(&telemetry, &of_greeter("opened_connections_total"), 2.0).await;
    told(&telemetry, &of_greeter("held_nodes"), 0.0).await;
    let age = value(&telemetry, &by("snapshot_age_seconds", "registry", "memory")).unwrap();
    assert!(age > 0.0 && age < 30.0, "{age}");

    nodes[0].kill().await;
    told(&telemetry, &of_greeter("ready_nodes"), 1.0).await;
    told(&telemetry, &of_greeter("open_connections"), 1.0).await;
    eventually("a failed connect is told", async || {
        value(&telemetry, &by("failed_connections_total", "reason", "refused")) > Some(0.0)
    })
    .await;
    // The registry has lost all of them, and one of them still lives.
    for fake in &nodes {
        registry.deregister(&fake.node).await.unwrap();
    }
    told(&telemetry, &of_greeter("known_nodes"), 0.0).await;
    told(&telemetry, &of_greeter("held_nodes"), 1.0).await;
    let failing = by("discovery_failing", "registry", "memory");
    assert_eq!(value(&telemetry, &failing), Some(0.0));
}

#[tokio::test]
async fn calls_that_find_no_node_at_once_are_told() {
    let registry = registry_of([]).await;
    let (telemetry, _client, channel) = recording(Arc::clone(&registry) as Arc<dyn Registry>).await;
    hello(&channel).await.unwrap_err();
    told(&telemetry, &by("waits_total", "outcome", "nobody"), 1.0).await;
    told(&telemetry, &calls("UNAVAILABLE"), 1.0).await;

    let node = FakeNode::start("a", Behaviour::Answer).await;
    let (telemetry, _client, channel) = recording(registry_of([&node]).await).await;
    hello(&channel).await.unwrap();
    told(&telemetry, &by("waits_total", "outcome", "found"), 1.0).await;
}
