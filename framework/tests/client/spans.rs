//! The spans of a client: of calls, their attempts and waits, and of nodes that are left out.

use std::{
    io,
    sync::{Arc, Mutex},
};

use micro::{CallOptions, Policy, registry::Registry};
use tracing::{Dispatch, subscriber::DefaultGuard};
use tracing_subscriber::fmt::format::FmtSpan;

use crate::support::{Behaviour, FakeNode, both_are_connected, client, eventually, hello, load, registry_of};

/// What is told of the spans of this thread, on which all of a test's runtime is.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    /// Listens for as long as what comes with it lives.
    fn subscribed() -> (Self, (DefaultGuard, Dispatch)) {
        let written = Self::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .finish();
        // With a second subscriber, a span that another test's thread is the first to reach asks all of them whether it is
        // wanted; with one alone it asks that thread's, which is none, and nobody sees it from then on.
        let second = Dispatch::new(tracing_subscriber::registry());
        (written, (tracing::subscriber::set_default(subscriber), second))
    }

    /// The spans of this name that began (`new`) or ended (`close`), with those around each before it.
    fn told(&self, name: &str, what: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let is_told = |line: &&str| {
            let (spans, told) = line.split_once("}: micro::client::").unwrap_or_default();
            let innermost = spans.rsplit_once(&format!("{name}{{"));
            innermost.is_some_and(|(_, fields)| !fields.contains("}:"))
                && told.split(' ').nth(1) == Some(what)
        };
        text.lines().filter(is_told).map(str::to_owned).collect()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_has_a_span_and_each_attempt_one_below_it() {
    let (written, _subscribed) = Written::subscribed();
    // Nobody records: spans are there without it.
    let node = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&node]).await);
    hello(&channel).await.unwrap();
    node.tell(Behaviour::Fail);
    hello(&channel).await.unwrap_err();

    let [calls, attempts] = ["client_call", "attempt"].map(|name| written.told(name, "close"));
    assert_eq!([calls.len(), attempts.len()], [2, 2]);
    for (at, code) in ["OK", "INVALID_ARGUMENT"].into_iter().enumerate() {
        let (call, attempt) = (&calls[at], &attempts[at]);
        assert!(attempt.contains("client_call{"), "{attempt}");
        for part in [
            "client_call{",
            "rpc.system.name=\"grpc\"",
            "rpc.method=\"greeter.Say/Hello\"",
            "micro.service=\"greeter\"",
            "micro.node.id=\"a\"",
            "server.address=\"greeter\"",
            "network.peer.address=\"127.0.0.1\"",
            &format!("network.peer.port={}", node.node.address().port()),
            &format!("rpc.response.status_code=\"{code}\""),
        ] {
            assert_eq!(call.matches(part).count(), 1, "{part} is not once in\n{call}");
        }
        let error = format!("error.type=\"{code}\"");
        for ended in [attempt, call] {
            assert_eq!(ended.contains(&error), code != "OK", "{ended}");
        }
        assert_eq!(
            attempt.matches(&format!("status_code=\"{code}\"")).count(),
            1,
            "{attempt}"
        );
    }
}

#[tokio::test]
async fn an_attempt_says_how_its_node_was_picked() {
    let (written, _subscribed) = Written::subscribed();
    let nodes = [
        FakeNode::start("a", Behaviour::Answer).await,
        FakeNode::start("b", Behaviour::Answer).await,
    ];
    let (_client, channel) = client(registry_of(&nodes).await);
    both_are_connected(&channel).await;
    for (options, expected) in [
        (
            CallOptions::new(),
            Some("micro.policy=least_loaded micro.candidates=2"),
        ),
        (
            CallOptions::new().policy(Policy::RoundRobin),
            Some("micro.policy=round_robin micro.candidates=2"),
        ),
        // Nothing is picked for a call that names its node.
        (CallOptions::new().node("b"), None),
    ] {
        hello(&channel.clone().options(options)).await.unwrap();
        let attempt = written.told("attempt", "close").pop().unwrap();
        match expected {
            Some(expected) => assert!(attempt.contains(expected), "{attempt}"),
            None => assert!(!attempt.contains("micro.policy"), "{attempt}"),
        }
    }
}

#[tokio::test]
async fn a_pick_that_waits_has_a_span_below_its_call_and_another_has_none() {
    let (written, _subscribed) = Written::subscribed();
    let node = FakeNode::start("a", Behaviour::Answer).await;
    let (_client, channel) = client(registry_of([&node]).await);
    // The first one waits for the registry and for a connection.
    for _ in 0..3 {
        hello(&channel).await.unwrap();
    }
    let (_client, nobody) = client(registry_of([]).await);
    hello(&nobody).await.unwrap_err();

    let picks = written.told("pick", "close");
    assert_eq!(picks.len(), 2, "{picks:#?}");
    for (pick, outcome) in picks.iter().zip(["found", "nobody"]) {
        assert!(pick.contains("client_call{"), "{pick}");
        let outcome = format!("pick{{otel.kind=\"internal\" micro.outcome=\"{outcome}\"}}");
        assert!(pick.contains(&outcome), "{pick}");
    }
}

#[tokio::test]
async fn a_node_that_is_left_out_has_a_span_until_it_is_back_or_gone() {
    let (written, _subscribed) = Written::subscribed();
    let nodes = [
        FakeNode::start("good", Behaviour::Answer).await,
        FakeNode::start("bad", Behaviour::Unavailable).await,
    ];
    let registry = registry_of(&nodes).await;
    let (_client, channel) = client(Arc::clone(&registry) as Arc<dyn Registry>);
    // The usual policy would spare it.
    let channel = channel.options(CallOptions::new().policy(Policy::RoundRobin));
    eventually("the bad one is left out", async || {
        load(&channel, 20, 4).await;
        !written.told("ejection", "new").is_empty()
    })
    .await;
    registry.deregister(&nodes[1].node).await.unwrap();
    eventually("its span ends", async || {
        written.told("ejection", "close").len() == written.told("ejection", "new").len()
    })
    .await;
    let ended = &written.told("ejection", "close")[0];
    let port = nodes[1].node.address().port();
    let expected = format!(
        "ejection{{micro.service=\"greeter\" micro.node.id=\"bad\" server.address=127.0.0.1 server.port={port} \
         micro.ejections=1}}"
    );
    // It is part of no call's trace.
    assert!(
        ended.contains(&expected) && !ended.contains("client_call"),
        "{ended}"
    );
}
