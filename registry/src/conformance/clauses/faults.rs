//! What holds when a node, a backend or another program does not do its part.

use std::{slice, time::Duration};

use tokio::time::{self, Instant};

use super::records::BAD_NAMES;
use crate::{
    ErrorKind,
    conformance::{Absent, Foreign, Harness, Restart, Stage, stage::built},
};

/// How long a backend that is away may take to say so: DESIGN's registry timeout.
const AWAY_WITHIN: Duration = Duration::from_secs(10);
/// How long after its ttl a renewed node is still there.
const RENEWED_TTLS: u32 = 3;
/// How long to wait before looking again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A node that is renewed stays beyond its ttl; one that is not goes, not before its ttl and not long after.
pub async fn a_node_that_is_not_renewed_goes<H: Harness>(stage: &Stage<H>) {
    let ttl = stage.harness().ttl_min();
    let (announcer, other) = (stage.process().await, stage.process().await);
    let node = stage.node("node-1");
    let kept = stage.node("node-2");
    let mut watcher = other.watch(stage.service()).await;
    announcer.register(&kept).await;
    let started = Instant::now();
    let mut renewed = started;
    while started.elapsed() < ttl * RENEWED_TTLS {
        renewed = Instant::now();
        announcer.register_for(&node, ttl).await;
        other
            .lists(
                stage.service(),
                &[node.clone(), kept.clone()],
                stage.change_within(),
            )
            .await;
        time::sleep(ttl / 3).await;
    }
    while other.snapshot(stage.service()).await.get(node.id()).is_some() {
        if renewed.elapsed() > ttl + stage.harness().gone_within() {
            stage.fail(format_args!(
                "a node with a ttl of {ttl:?} is still there {:?} later",
                renewed.elapsed()
            ));
        }
        time::sleep(POLL_INTERVAL).await;
    }
    if renewed.elapsed() < ttl {
        stage.fail(format_args!(
            "a node with a ttl of {ttl:?} went after {:?}",
            renewed.elapsed()
        ));
    }
    watcher
        .yields(slice::from_ref(&kept), stage.harness().gone_within())
        .await;
    announcer.register_for(&node, ttl).await;
    other
        .lists(stage.service(), &[node, kept], stage.change_within())
        .await;
}

/// The id of a node that is there is a conflict to another boot, whose registering and deregistering disturb nothing;
/// it is free once the holder has gone.
pub async fn an_id_held_by_another_boot_is_a_conflict<H: Harness>(stage: &Stage<H>) {
    let (holder, newcomer) = (stage.process().await, stage.process().await);
    let held = built(stage.node_builder("node-1").boot("boot-1"));
    let other = built(
        stage
            .node_builder("node-1")
            .boot("boot-2")
            .metadata("newcomer", "yes"),
    );
    holder.register(&held).await;
    newcomer
        .lists(stage.service(), slice::from_ref(&held), stage.change_within())
        .await;
    match newcomer.try_register(&other, Duration::from_secs(30)).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        answer => stage.fail(format_args!("expected is a conflict: {answer:?}")),
    }
    newcomer.deregister(&other).await;
    holder.register(&held).await;
    for process in [&holder, &newcomer] {
        process
            .lists(stage.service(), slice::from_ref(&held), stage.change_within())
            .await;
    }
    holder.deregister(&held).await;
    newcomer.lists(stage.service(), &[], stage.change_within()).await;
    newcomer.register(&other).await;
    holder
        .lists(stage.service(), &[other], stage.change_within())
        .await;
}

/// Every call to a backend that is away answers [`ErrorKind::Unavailable`] within 10 s, a watch at the latest by its
/// first snapshot; what is refused without asking the backend still is.
pub async fn a_backend_that_is_away_answers_unavailable_in_time<H: Absent>(stage: &Stage<H>) {
    let away = stage.process_with(stage.harness().absent().await);
    let registry = away.registry();
    let node = stage.node("node-1");
    let service = stage.service().as_str();
    let calls = [
        (
            "register",
            time::timeout(AWAY_WITHIN, registry.register(&node, Duration::from_secs(30))).await,
        ),
        (
            "list nodes",
            time::timeout(AWAY_WITHIN, registry.get_service(service))
                .await
                .map(|found| found.map(drop)),
        ),
        (
            "list services",
            time::timeout(AWAY_WITHIN, registry.list_services())
                .await
                .map(|found| found.map(drop)),
        ),
        (
            "deregister",
            time::timeout(AWAY_WITHIN, registry.deregister(&node)).await,
        ),
        (
            "watch",
            time::timeout(AWAY_WITHIN, first_of_watch(registry.as_ref(), service)).await,
        ),
    ];
    for (call, answer) in calls {
        match answer {
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => {}
            Ok(answer) => stage.fail(format_args!("{call}: expected is `unavailable`: {answer:?}")),
            Err(_) => stage.fail(format_args!("{call}: no answer within {AWAY_WITHIN:?}")),
        }
    }
    away.refuses_bad_names(&BAD_NAMES, ErrorKind::InvalidArgument)
        .await;
}

/// A backend that restarts with nothing stored has a node again once it is renewed, and watchers learn of it.
pub async fn a_backend_restarted_empty_has_the_node_after_the_next_renewal<H: Restart>(stage: &Stage<H>) {
    let within = stage.harness().healed_within();
    let (announcer, other) = (stage.process().await, stage.process().await);
    let node = stage.node("node-1");
    let nodes = slice::from_ref(&node);
    announcer.register(&node).await;
    let mut watcher = other.watch(stage.service()).await;
    watcher.yields(nodes, stage.change_within()).await;
    stage.harness().restart_empty().await;
    let restarted = Instant::now();
    // The first renewal may meet the connection that broke; the one that succeeds has restored the node.
    while let Err(error) = announcer.try_register(&node, Duration::from_secs(300)).await {
        if error.kind() != ErrorKind::Unavailable || restarted.elapsed() > within {
            stage.fail(format_args!(
                "renewing {:?} after the restart: {error:?}",
                restarted.elapsed()
            ));
        }
        time::sleep(POLL_INTERVAL).await;
    }
    stage
        .process()
        .await
        .lists(stage.service(), nodes, stage.change_within())
        .await;
    announcer.deregister(&node).await;
    if !watcher.yields_or_ends(&[], within).await {
        watcher = other.watch(stage.service()).await;
    }
    announcer.register(&node).await;
    watcher.yields(nodes, within).await;
    other.lists(stage.service(), nodes, stage.change_within()).await;
}

/// Records that no node can be made of hide no other node of their service, from a list and from a watch.
pub async fn a_foreign_bad_record_hides_nothing<H: Foreign>(stage: &Stage<H>) {
    let (announcer, other) = (stage.process().await, stage.process().await);
    let [before, after] = ["node-1", "node-2"].map(|id| stage.node(id));
    announcer.register(&before).await;
    let written = stage.harness().write_bad_records(stage.service()).await;
    if written == 0 {
        stage.fail("the harness wrote no bad record");
    }
    announcer.register(&after).await;
    let both = [before, after];
    other.lists(stage.service(), &both, stage.change_within()).await;
    other
        .watch(stage.service())
        .await
        .yields(&both, stage.change_within())
        .await;
    stage
        .process()
        .await
        .lists(stage.service(), &both, stage.change_within())
        .await;
}

async fn first_of_watch(registry: &dyn crate::Registry, service: &str) -> crate::Result<()> {
    match registry.watch(service).await?.next().await {
        Some(first) => first.map(drop),
        None => Ok(()),
    }
}
