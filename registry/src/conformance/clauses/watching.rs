//! A watcher yields what is there and every change after it.

use std::slice;

use crate::conformance::{
    Harness, Stage,
    stage::{built, node_of},
};

/// How many services are listed, changed and watched at the same time.
const RACES: usize = 16;

/// The first snapshot is the present one: all nodes at once, whichever process registered them.
pub async fn a_watcher_first_yields_what_is_there<H: Harness>(stage: &Stage<H>) {
    let (first, second, other) = (
        stage.process().await,
        stage.process().await,
        stage.process().await,
    );
    let nodes = ["node-1", "node-2", "node-3"].map(|id| stage.node(id));
    first.register(&nodes[0]).await;
    first.register(&nodes[1]).await;
    second.register(&nodes[2]).await;
    other.lists(stage.service(), &nodes, stage.change_within()).await;
    for process in [&other, &first, &stage.process().await] {
        let found = process
            .watch(stage.service())
            .await
            .next(stage.change_within())
            .await;
        if found.len() != nodes.len() {
            stage.fail(format_args!(
                "the first snapshot has {} nodes of {}: {found:?}",
                found.len(),
                nodes.len()
            ));
        }
    }
}

/// Metadata that changes, a node that comes and a node that goes reach a watcher that is open.
pub async fn changed_metadata_reaches_the_watcher<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = (stage.process().await, stage.process().await);
    let boot = "boot-1";
    let node = |weight: &str| built(stage.node_builder("node-1").boot(boot).metadata("weight", weight));
    let beside = stage.node("node-2");
    let mut watcher = other.watch(stage.service()).await;
    announcer.register(&node("1")).await;
    watcher.yields(&[node("1")], stage.change_within()).await;
    announcer.register(&node("2")).await;
    watcher.yields(&[node("2")], stage.change_within()).await;
    announcer.register(&beside).await;
    watcher
        .yields(&[node("2"), beside.clone()], stage.change_within())
        .await;
    announcer.deregister(&node("2")).await;
    watcher
        .yields(slice::from_ref(&beside), stage.change_within())
        .await;
    announcer.deregister(&beside).await;
    watcher.yields(&[], stage.change_within()).await;
}

/// What changes after a list and before, or while, a watch begins is in what the watcher yields.
pub async fn a_change_between_list_and_watch_is_not_lost<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = (stage.process().await, stage.process().await);
    let nodes: Vec<_> = (0..RACES)
        .map(|number| built(node_of(&stage.service_with(&format!("-{number}")), "node-1")))
        .collect();
    for (number, node) in nodes.iter().enumerate() {
        other.snapshot(node.service()).await;
        let mut watcher = if number == 0 {
            announcer.register(node).await;
            other.watch(node.service()).await
        } else {
            // Both at once, and each a little later against the other than in the last round.
            let late = async {
                for _ in 0..number {
                    tokio::task::yield_now().await;
                }
                announcer.register(node).await;
            };
            tokio::join!(other.watch(node.service()), late).0
        };
        watcher.yields(slice::from_ref(node), stage.change_within()).await;
    }
}

/// Watchers of one service, several in one process and one in each of several, all see a change; one that is dropped
/// takes nothing from the others.
pub async fn watchers_of_one_service_all_see_a_change<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = (stage.process().await, stage.process().await);
    let [first, second] = ["node-1", "node-2"].map(|id| stage.node(id));
    let dropped = other.watch(stage.service()).await;
    let mut watchers = vec![
        other.watch(stage.service()).await,
        other.watch(stage.service()).await,
        announcer.watch(stage.service()).await,
    ];
    announcer.register(&first).await;
    for watcher in &mut watchers {
        watcher
            .yields(slice::from_ref(&first), stage.change_within())
            .await;
    }
    drop(dropped);
    announcer.register(&second).await;
    for watcher in &mut watchers {
        watcher
            .yields(&[first.clone(), second.clone()], stage.change_within())
            .await;
    }
}
