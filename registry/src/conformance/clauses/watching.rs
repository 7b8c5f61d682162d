//! A watcher yields what is there and every change after it.

use std::slice;

use tokio::task::{self, JoinSet};

use super::join_all;
use crate::{
    Node,
    conformance::{
        Harness, Stage,
        process::Process,
        stage::{built, node_of},
    },
};

/// How many services are listed, changed and watched at the same time, each in another order.
const RACES: usize = 16;

/// The first snapshot is the present one: all nodes at once, whichever process registered them.
pub async fn a_watcher_first_yields_what_is_there<H: Harness>(stage: &Stage<H>) {
    let (first, second) = stage.two_processes().await;
    let other = stage.process().await;
    let nodes = ["node-1", "node-2", "node-3"].map(|id| stage.node(id));
    first.register(&nodes[0]).await;
    first.register(&nodes[1]).await;
    second.register(&nodes[2]).await;
    other.lists(stage.service(), &nodes).await;
    for process in [&other, &first, &stage.process().await] {
        let found = process.watch(stage.service()).await.next().await;
        if found.len() != nodes.len() {
            let what = "look at a watcher's first snapshot";
            stage.fail(
                what,
                format_args!("{} of {} nodes: {found:?}", found.len(), nodes.len()),
            );
        }
    }
}

/// Metadata that changes, a node that comes and a node that goes reach a watcher that is open.
pub async fn changed_metadata_reaches_the_watcher<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let weighing = |weight: &str| {
        built(
            stage
                .node_builder("node-1")
                .boot("boot-1")
                .metadata("weight", weight),
        )
    };
    let (light, heavy, beside) = (weighing("1"), weighing("2"), stage.node("node-2"));
    let mut watcher = other.watch(stage.service()).await;
    announcer.register(&light).await;
    watcher.yields(slice::from_ref(&light)).await;
    announcer.register(&heavy).await;
    watcher.yields(slice::from_ref(&heavy)).await;
    announcer.register(&beside).await;
    watcher.yields(&[heavy.clone(), beside.clone()]).await;
    announcer.deregister(&heavy).await;
    watcher.yields(slice::from_ref(&beside)).await;
    announcer.deregister(&beside).await;
    watcher.yields(&[]).await;
}

/// What changes after a list and before, or while, a watch begins is in what the watcher yields.
pub async fn a_change_between_list_and_watch_is_not_lost<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let mut races = JoinSet::new();
    for number in 0..RACES {
        let node = built(node_of(&stage.service_with(&format!("-{number}")), "node-1"));
        races.spawn(race(announcer.clone(), other.clone(), node, number));
    }
    join_all(races).await;
}

/// Registers `node` before its service is watched if `late` is 0, else while, `late` steps of the runtime after.
async fn race(announcer: Process, other: Process, node: Node, late: usize) {
    other.snapshot(node.service()).await;
    if late == 0 {
        announcer.register(&node).await;
    }
    let register = async {
        for _ in 0..late {
            task::yield_now().await;
        }
        announcer.register(&node).await;
    };
    let (mut watcher, ()) = tokio::join!(other.watch(node.service()), register);
    watcher.yields(slice::from_ref(&node)).await;
}

/// Watchers of one service, several in one process and one in another, all see a change; one that is dropped takes
/// nothing from the others.
pub async fn watchers_of_one_service_all_see_a_change<H: Harness>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let nodes = ["node-1", "node-2"].map(|id| stage.node(id));
    let dropped = other.watch(stage.service()).await;
    let mut watchers = [
        other.watch(stage.service()).await,
        other.watch(stage.service()).await,
        announcer.watch(stage.service()).await,
    ];
    announcer.register(&nodes[0]).await;
    for watcher in &mut watchers {
        watcher.yields(&nodes[..1]).await;
    }
    drop(dropped);
    announcer.register(&nodes[1]).await;
    for watcher in &mut watchers {
        watcher.yields(&nodes).await;
    }
}
