//! What perhaps ran is sent again for idempotent methods alone, elsewhere, and only so often.

use std::time::Duration;

use micro::{CallOptions, Channel, Client, EndpointState, Policy, registry::Idempotency};
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::support::{
    Behaviour, FakeNode, both_are_connected, client, eventually, hello, load, registry_of, with_methods,
};

/// Nodes that behave well until both are connected; then the second does what it is told.
async fn good_and(bad: Behaviour, idempotency: Idempotency) -> ([FakeNode; 2], Client, Channel) {
    let mut nodes = [
        FakeNode::start("good", Behaviour::Answer).await,
        FakeNode::start("bad", Behaviour::Answer).await,
    ];
    for fake in &mut nodes {
        fake.node = with_methods(&fake.node, idempotency);
    }
    // In turn, so that both are sure to be called, whatever their latency.
    let client = Client::builder(registry_of(&nodes).await)
        .policy(Policy::RoundRobin)
        .build()
        .unwrap();
    let channel = client.channel("greeter");
    both_are_connected(&channel).await;
    nodes[1].tell(bad);
    (nodes, client, channel)
}

/// Calls until the bad node was met, and gives all failures.
async fn until_met(nodes: &[FakeNode; 2], channel: &Channel) -> Vec<Status> {
    let (met, mut failures) = (nodes[1].executions(), Vec::new());
    eventually("the bad node is met", async || {
        failures.extend(hello(channel).await.err());
        nodes[1].executions() > met
    })
    .await;
    failures
}

const BROKEN: [Behaviour; 4] = [
    Behaviour::Close,
    Behaviour::Unavailable,
    Behaviour::BreakBeforeMessage,
    Behaviour::Reset,
];

#[tokio::test]
async fn an_idempotent_call_that_perhaps_ran_goes_elsewhere() {
    for bad in [
        Behaviour::Close,
        Behaviour::Unavailable,
        Behaviour::BreakBeforeMessage,
        Behaviour::EndsUnavailable(None),
    ] {
        let (nodes, _client, channel) = good_and(bad, Idempotency::Idempotent).await;
        let failures = until_met(&nodes, &channel).await;
        assert!(failures.is_empty(), "{bad:?}: {failures:?}");
        let attempts = nodes[0].last_headers()["grpc-previous-rpc-attempts"].clone();
        assert_eq!(attempts, "1", "{bad:?}");
    }
}

#[tokio::test]
async fn a_later_attempt_tells_the_time_that_is_left_then() {
    let (nodes, _client, channel) = good_and(Behaviour::PushedBack("200"), Idempotency::Idempotent).await;
    assert!(until_met(&nodes, &channel).await.is_empty());
    let told = nodes.each_ref().map(|node| {
        let headers = node.last_headers();
        let text = headers["grpc-timeout"].to_str().unwrap();
        text.strip_suffix('m').unwrap().parse::<u32>().unwrap()
    });
    let [later, first] = told;
    assert!(later + 200 <= first, "{told:?}");
}

#[tokio::test]
async fn a_call_of_another_method_that_perhaps_ran_runs_once() {
    for bad in BROKEN {
        let (nodes, _client, channel) = good_and(bad, Idempotency::Unknown).await;
        let before = nodes[0].executions() + nodes[1].executions();
        let mut calls = 0;
        eventually("the bad node is met", async || {
            calls += 1;
            hello(&channel).await.is_err()
        })
        .await;
        let after = nodes[0].executions() + nodes[1].executions();
        assert_eq!(after - before, calls, "{bad:?}");
    }
}

#[tokio::test]
async fn a_call_may_say_itself_whether_it_is_idempotent() {
    let (nodes, _client, channel) = good_and(Behaviour::Unavailable, Idempotency::Unknown).await;
    let safe = channel.clone().options(CallOptions::new().idempotent(true));
    assert!(until_met(&nodes, &safe).await.is_empty());

    let (nodes, _client, channel) = good_and(Behaviour::Unavailable, Idempotency::NoSideEffects).await;
    let unsafe_ = channel.clone().options(CallOptions::new().idempotent(false));
    assert_eq!(until_met(&nodes, &unsafe_).await.len(), 1);
    let never = channel.clone().options(CallOptions::new().retries(0));
    assert_eq!(until_met(&nodes, &never).await.len(), 1);
    assert!(until_met(&nodes, &channel).await.is_empty());
}

#[tokio::test]
async fn a_failure_that_is_not_unavailable_is_the_answer() {
    for bad in [Behaviour::Fail, Behaviour::Reset] {
        let (nodes, _client, channel) = good_and(bad, Idempotency::Idempotent).await;
        let failures = until_met(&nodes, &channel).await;
        assert_eq!(failures.len(), 1, "{bad:?}: {failures:?}");
    }
}

#[tokio::test]
async fn a_node_that_forbids_it_or_says_nothing_clear_has_given_the_answer() {
    for when in ["-1", "soon", "", "99999999999999999999999"] {
        for bad in [
            Behaviour::PushedBack(when),
            Behaviour::EndsUnavailable(Some(when)),
        ] {
            let (nodes, _client, channel) = good_and(bad, Idempotency::Idempotent).await;
            let failures = until_met(&nodes, &channel).await;
            assert_eq!(failures.len(), 1, "{bad:?}: {failures:?}");
            assert_eq!(failures[0].code(), Code::Unavailable, "{bad:?}");
        }
    }
}

#[tokio::test]
async fn a_call_goes_elsewhere_no_sooner_than_the_node_says() {
    // Much longer than a client waits by itself.
    let wait = Duration::from_millis(300);
    for bad in [
        Behaviour::PushedBack("300"),
        Behaviour::EndsUnavailable(Some("300")),
    ] {
        let (nodes, _client, channel) = good_and(bad, Idempotency::Idempotent).await;
        let met = nodes[1].executions();
        eventually("the bad node is met", async || {
            let started = std::time::Instant::now();
            assert_eq!(hello(&channel).await.unwrap(), "good", "{bad:?}");
            let is_met = nodes[1].executions() > met;
            assert!(
                !is_met || started.elapsed() >= wait,
                "{bad:?}: {:?}",
                started.elapsed()
            );
            is_met
        })
        .await;
    }
}

#[tokio::test]
async fn with_nobody_else_to_ask_the_failure_comes_at_once_and_names_the_node() {
    let mut only = FakeNode::start("only", Behaviour::Unavailable).await;
    only.node = with_methods(&only.node, Idempotency::Idempotent);
    let (_client, channel) = client(registry_of([&only]).await);
    let status = hello(&channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.metadata().get("micro-node").unwrap(), "only");
    assert_eq!(only.executions(), 1);
}

#[tokio::test]
async fn when_every_node_fails_the_load_grows_by_no_more_than_the_budget() {
    let (nodes, _client, channel) = good_and(Behaviour::Unavailable, Idempotency::Idempotent).await;
    nodes[0].tell(Behaviour::Unavailable);
    let before = nodes[0].executions() + nodes[1].executions();
    let started = std::time::Instant::now();
    let (answers, failures) = load(&channel, 1_000, 8).await;
    assert!(answers.is_empty());
    assert!(
        failures.iter().all(|status| status.code() == Code::Unavailable),
        "{failures:?}"
    );
    let again = nodes[0].executions() + nodes[1].executions() - before - 1_000;
    // A fifth of the calls, those of the preparation among them, and ten a second with a burst of ten.
    let allowed = 1_200 / 5 + 10 + 10 * (started.elapsed().as_secs() as usize + 1);
    assert!((100..=allowed).contains(&again), "{again} of {allowed}");
}

#[tokio::test]
async fn a_stream_is_not_sent_again_after_its_first_message() {
    let (nodes, _client, channel) = good_and(Behaviour::BreakAfterMessage, Idempotency::Idempotent).await;
    let mut grpc = Grpc::new(channel.options(CallOptions::new().idempotent(true)));
    eventually("the bad node is met", async || {
        let before = [0, 1].map(|at: usize| nodes[at].executions());
        grpc.ready().await.unwrap();
        let codec = ProstCodec::<String, String>::default();
        let request = Request::new("Ada".to_owned());
        let path = PathAndQuery::from_static("/greeter.Say/Greetings");
        let answer = grpc.server_streaming(request, path, codec).await;
        let mut stream = answer.unwrap().into_inner();
        let first = stream.message().await.unwrap().unwrap();
        let then = stream.message().await;
        let ran = [0, 1].map(|at: usize| nodes[at].executions() - before[at]);
        match first.as_str() {
            "bad" => {
                assert_eq!(then.unwrap_err().code(), Code::Unavailable);
                assert_eq!(ran, [0, 1]);
                true
            }
            good => {
                assert_eq!((good, then.unwrap(), ran), ("good", None, [1, 0]));
                false
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_for_late_answers_is_within_the_budget() {
    const CALLS: usize = 200;
    let (nodes, _client, channel) = good_and(Behaviour::Hang, Idempotency::Idempotent).await;
    nodes[0].tell(Behaviour::Hang);
    let attempts = || {
        let [good, bad] = [0, 1].map(|at: usize| nodes[at].attempts());
        (good.0 + bad.0, good.1 + bad.1)
    };
    let (mut calls, before) = attempts();
    let options = CallOptions::new()
        .hedge_delay(Duration::from_millis(20))
        .timeout(Duration::from_secs(1));
    let (channel, started) = (channel.options(options), std::time::Instant::now());
    eventually("a second node is asked", async || {
        let (answers, failures) = load(&channel, CALLS, CALLS).await;
        assert!(answers.is_empty());
        assert_eq!(failures.len(), CALLS);
        calls += CALLS;
        let again = attempts().1 - before;
        // A fifth of the calls, and ten a second with a burst of ten.
        let allowed = calls / 5 + 10 + 10 * (started.elapsed().as_secs() as usize + 1);
        assert!(again <= allowed, "{again} of {allowed}");
        again > 0
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_is_overtaken_by_another_node_s() {
    let (nodes, _client, channel) = good_and(Behaviour::Hang, Idempotency::Idempotent).await;
    let hedged = channel.options(CallOptions::new().hedge_delay(Duration::from_millis(20)));
    assert!(until_met(&nodes, &hedged).await.is_empty());
}

#[tokio::test]
async fn a_node_that_is_overtaken_again_and_again_and_answers_nothing_is_left_out() {
    let (nodes, _client, channel) = good_and(Behaviour::Hang, Idempotency::Idempotent).await;
    let hedged = channel.options(CallOptions::new().hedge_delay(Duration::from_millis(20)));
    eventually("the node that hangs is left out", async || {
        assert!(until_met(&nodes, &hedged).await.is_empty());
        let endpoints = hedged.endpoints().await.unwrap();
        endpoints
            .iter()
            .any(|endpoint| endpoint.node.id() == "bad" && endpoint.state == EndpointState::Ejected)
    })
    .await;
}

#[tokio::test]
async fn a_late_answer_of_another_method_is_waited_for() {
    let (nodes, _client, channel) = good_and(Behaviour::Hang, Idempotency::Unknown).await;
    let options = CallOptions::new()
        .hedge_delay(Duration::from_millis(1))
        .timeout(Duration::from_millis(300));
    let failures = until_met(&nodes, &channel.options(options)).await;
    assert_eq!(failures.len(), 1, "{failures:?}");
    assert_eq!(failures[0].code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn of_two_attempts_a_failure_does_not_end_the_call() {
    let (nodes, _client, channel) = good_and(Behaviour::Hang, Idempotency::Idempotent).await;
    nodes[0].tell(Behaviour::Unavailable);
    let options = CallOptions::new()
        .hedge_delay(Duration::from_millis(20))
        .timeout(Duration::from_millis(500));
    let channel = channel.options(options);
    let [good, bad] = [0, 1].map(|at: usize| nodes[at].executions());
    let met = || nodes[0].executions() > good && nodes[1].executions() > bad;
    eventually(
        "both are asked by one call, and the one that hangs is waited for",
        async || {
            let status = hello(&channel).await.unwrap_err();
            status.code() == Code::DeadlineExceeded && met()
        },
    )
    .await;
}
