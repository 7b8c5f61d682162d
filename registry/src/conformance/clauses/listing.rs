//! What is registered is found, all of it and nothing else.

use std::{slice, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

use super::join_all;
use crate::{
    Node,
    conformance::{
        Harness, Stage,
        process::Process,
        stage::{built, node_of},
    },
};

/// How many nodes register at the same time.
const REGISTERING_MAX: usize = 16;

/// What one process registers, it and every other process find, as it was registered.
pub async fn a_registered_node_is_found<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let node = stage.node("node-1");
    announcer.register(&node).await;
    for process in [&announcer, &other, &stage.process().await] {
        process.lists(stage.service(), slice::from_ref(&node)).await;
    }
}

/// Registering a node again renews it: there is one.
pub async fn registering_twice_keeps_one<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let node = stage.node("node-1");
    for _ in 0..3 {
        announcer.register(&node).await;
    }
    other.lists(stage.service(), &[node]).await;
}

/// Nodes of one service stand beside each other, whichever process registered them and however alike their ids are,
/// and one goes alone.
pub async fn several_nodes_of_one_service_are_all_kept<H: Harness>(stage: &Stage<H>) {
    let (first, second) = stage.two_processes().await;
    let other = stage.process().await;
    let nodes = ["node-1", "Node-1", "node-10", "node/1"].map(|id| stage.node(id));
    for (number, node) in nodes.iter().enumerate() {
        let process = if number % 2 == 0 { &first } else { &second };
        process.register(node).await;
    }
    other.lists(stage.service(), &nodes).await;
    first.deregister(&nodes[0]).await;
    other.lists(stage.service(), &nodes[1..]).await;
}

/// A deregistered node goes; deregistering it again, or one that was never there, is no error.
pub async fn deregistering_twice_is_fine<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let node = stage.node("node-1");
    announcer.deregister(&node).await;
    announcer.register(&node).await;
    other.lists(stage.service(), slice::from_ref(&node)).await;
    announcer.deregister(&node).await;
    announcer.deregister(&node).await;
    other.lists(stage.service(), &[]).await;
    // And it can come back.
    announcer.register(&node).await;
    other.lists(stage.service(), &[node]).await;
}

/// A service that nobody registered has no nodes, which is no error; a watcher says so at once.
pub async fn an_unknown_service_is_an_empty_snapshot<H: Harness>(stage: &Stage<H>) {
    let process = stage.process().await;
    let listed = process.snapshot(stage.service()).await;
    let watched = process.watch(stage.service()).await.next().await;
    if !listed.is_empty() || !watched.is_empty() {
        let found = format!("a service that nobody registered has nodes: {listed:?}, {watched:?}");
        stage.fail("look for nobody", found);
    }
}

/// `greeter` has its own nodes only, not those of `greeter-v2`, `greeter.v2`, `greeter_v2` and `greeter2`, although
/// the ids are the same; and the other way round.
pub async fn a_service_does_not_see_one_whose_name_begins_with_its_own<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let services = ["", "-v2", ".v2", "_v2", "2"].map(|suffix| stage.service_with(suffix));
    let nodes = services
        .each_ref()
        .map(|service| built(node_of(service, "node-1")));
    for node in &nodes {
        announcer.register(node).await;
    }
    for node in &nodes {
        other.lists(node.service(), slice::from_ref(node)).await;
    }
    let mut watcher = other.watch(stage.service()).await;
    watcher.yields(&nodes[..1]).await;
    announcer.deregister(&nodes[0]).await;
    watcher.yields(&[]).await;
    other.lists(nodes[1].service(), &nodes[1..2]).await;
}

/// The list of services, sorted, has a service while it has a node.
pub async fn services_are_listed_while_they_have_a_node<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let nodes = ["node-1", "node-2"].map(|id| stage.node(id));
    for node in &nodes {
        announcer.register(node).await;
    }
    other.names(stage.service()).await;
    announcer.deregister(&nodes[0]).await;
    other.lists(stage.service(), &nodes[1..]).await;
    other.names(stage.service()).await;
    announcer.deregister(&nodes[1]).await;
    other.does_not_name(stage.service()).await;
}

/// As many nodes as the backend has room for come back complete: to who watched from the start and to who comes late.
pub async fn a_large_service_comes_back_complete<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let within = stage.harness().complete_within();
    let nodes: Vec<_> = (0..stage.harness().nodes_max())
        .map(|number| stage.node(&format!("node-{number:05}")))
        .collect();
    let mut early = other.watch(stage.service()).await;
    register_all(&announcer, &nodes).await;
    early.yields_within(&nodes, within).await;
    other.lists_within(stage.service(), &nodes, within).await;
    let late = stage.process().await;
    late.lists_within(stage.service(), &nodes, within).await;
    late.watch(stage.service())
        .await
        .yields_within(&nodes, within)
        .await;
}

async fn register_all(announcer: &Process, nodes: &[Node]) {
    let room = Arc::new(Semaphore::new(REGISTERING_MAX));
    let mut registering = JoinSet::new();
    for node in nodes {
        let (announcer, node, room) = (announcer.clone(), node.clone(), Arc::clone(&room));
        registering.spawn(async move {
            let _room = room.acquire().await.expect("nobody closes the semaphore");
            announcer.register(&node).await;
        });
    }
    join_all(registering).await;
}
