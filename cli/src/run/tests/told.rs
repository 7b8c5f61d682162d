//! What is said of a node that is replaced, and when.

use std::{fs, sync::Arc};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};

use super::{Files, PATIENCE, World, is_alive};
use crate::run::{
    keeper::{End, Keeper, Phase, Role},
    printer::Heard,
};

/// What is said next of a node: the event, and the node.
async fn event(heard: &mut Heard) -> (String, String) {
    let (words, facts) = timeout(PATIENCE, heard.own()).await.expect("something is said");
    let fact = |name: &str| facts[name].as_str().unwrap().to_owned();
    assert!(words.contains(&fact("node")), "{words}");
    (fact("event"), fact("node"))
}

#[tokio::test]
async fn a_node_is_replaced_once_all_before_it_have_ended() {
    let world = World::new();
    let go = world.folder.path().join("go");
    // Asked to stop, it stays until it may go.
    let script = format!(
        "trap 'while ! [ -e {} ]; do sleep 0.02; done; exit 0' TERM; ready; while :; do sleep 0.05; done",
        go.display()
    );
    let (printer, mut heard) = Heard::new();
    let (ready, _first) = mpsc::channel(1);
    let (tell, phase) = watch::channel(Phase::Running);
    let (newer, versions) = watch::channel(0);
    let keeper = Keeper {
        role: Role::Service,
        label: "node-1".to_owned(),
        index: 0,
        launch: Arc::new(world.launch(&script)),
        readiness: Files(world.folder.path().to_owned()),
        printer,
        ready,
        phase,
        versions,
    };
    let kept = tokio::spawn(keeper.keep());
    let mut nodes = Vec::new();
    for version in 1..=3 {
        let (event, node) = event(&mut heard).await;
        assert_eq!(event, "ready");
        nodes.push(node);
        if version < 3 {
            newer.send_replace(version);
        }
    }
    let alive = || nodes.iter().map(|node| is_alive(world.started(node)[0]));
    assert!(alive().all(|is_alive| is_alive), "the old ones wait");

    fs::write(&go, "").unwrap();
    assert_eq!(event(&mut heard).await, ("replaced".to_owned(), nodes[2].clone()));
    assert_eq!(alive().collect::<Vec<_>>(), [false, false, true]);

    tell.send_replace(Phase::Draining);
    let end = timeout(PATIENCE, kept).await.unwrap().unwrap();
    assert!(matches!(end, End::Stopped), "{end:?}");
}
