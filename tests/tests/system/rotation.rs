//! Nodes come and go under calls: who is picked, and which calls fail.

use std::{collections::BTreeMap, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{Load, Made, Network, Process, eventually, hello, reached};

fn failures(made: &[Made]) -> Vec<&tonic::Status> {
    made.iter()
        .filter_map(|made| made.result.as_ref().err())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_spread_over_both_nodes() {
    let network = Network::new();
    let _run = network.run_greeter(2);
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 2).await;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut running = JoinSet::new();
    for _ in 0..16 {
        let channel = channel.clone();
        running.spawn(async move {
            let mut peers = Vec::new();
            // 16 in flight, 1,008 in all.
            for _ in 0..63 {
                peers.push(hello(&channel).await.unwrap());
            }
            peers
        });
    }
    for peer in running.join_all().await.into_iter().flatten() {
        *counts.entry(peer.node_id().to_owned()).or_default() += 1;
    }
    let all: usize = counts.values().sum();
    assert_eq!(counts.len(), 2);
    for (id, count) in &counts {
        assert!(
            (all * 4 / 10..=all * 6 / 10).contains(count),
            "{id} answered {count} of {all}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_fails_only_what_was_sent_to_it_and_comes_back() {
    let network = Network::new();
    let run = network.run_greeter(2);
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 2).await;

    let load = Load::start(channel.clone(), 500);
    eventually("the load runs", async || hello(&channel).await.is_ok()).await;
    let (killed, pid) = run.nodes().into_iter().next().unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let killed_at = std::time::Instant::now();
    eventually("a node runs in its place", async || {
        let nodes = run.nodes();
        nodes.len() == 2 && !nodes.contains_key(&killed)
    })
    .await;
    reached(&channel, 2).await;
    let made = load.stop().await;

    for status in failures(&made) {
        // It had been sent, so it may have run: it names the node, and is not repeated.
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert!(
            status.message().contains(&format!("`{killed}` of `greeter`")),
            "{status}"
        );
    }
    for made in made
        .iter()
        .filter(|made| made.started > killed_at + Duration::from_secs(1))
    {
        let peer = made
            .result
            .as_ref()
            .expect("what is called long after the kill does not fail");
        assert_ne!(peer.node_id(), killed, "a dead node was picked");
    }
    // At 500 a second and some milliseconds each, few can have been in flight on one node.
    assert!(failures(&made).len() <= 50, "{} failed", failures(&made).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_asked_to_stop_loses_no_call() {
    let network = Network::new();
    let nodes = [network.greeter("one"), network.greeter("two")];
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 2).await;
    let load = Load::start(channel.clone(), 500);
    let [mut one, _two] = nodes;
    one.signal(Signal::SIGTERM);
    let status = tokio::task::spawn_blocking(move || one.wait_for_end().0)
        .await
        .unwrap();
    assert!(status.success());
    let made = load.stop().await;
    assert!(made.len() > 500, "{}", made.len());
    assert!(
        failures(&made).is_empty(),
        "{} of {} failed: {}",
        failures(&made).len(),
        made.len(),
        failures(&made)[0]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_loses_no_call() {
    let network = Network::new();
    let mut nodes: Vec<Process> = (0..3).map(|at| network.greeter(&format!("n{at}"))).collect();
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 3).await;
    let load = Load::start(channel.clone(), 500);
    for (at, node) in nodes.iter_mut().enumerate() {
        let mut old = std::mem::replace(node, network.greeter(&format!("n{at}-again")));
        old.signal(Signal::SIGTERM);
        let status = tokio::task::spawn_blocking(move || old.wait_for_end().0)
            .await
            .unwrap();
        assert!(status.success());
        reached(&channel, 3).await;
    }
    let made = load.stop().await;
    assert!(
        failures(&made).is_empty(),
        "{} of {} failed: {}",
        failures(&made).len(),
        made.len(),
        failures(&made)[0]
    );
}
