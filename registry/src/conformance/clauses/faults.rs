//! What holds when a node, a backend or another program does not do its part.

use std::{fmt, slice, time::Duration};

use tokio::time::{self, Instant};

use super::records::BAD_NAMES;
use crate::{
    ErrorKind, Node, Registry, Result,
    conformance::{
        Absent, Foreign, Harness, Restart, Stage,
        process::{Ending, Process},
        stage::{POLL_INTERVAL, built},
    },
};

/// How long a backend that is away may take to say so: twice the framework's registry timeout.
const AWAY_WITHIN: Duration = Duration::from_secs(20);
/// For how many times its ttl a renewed node is seen to stay.
const RENEWED_TTLS: u32 = 3;

/// A node that is renewed stays beyond its ttl; one that is not goes, not before its ttl and not long after.
pub async fn a_node_that_is_not_renewed_goes<H: Harness>(stage: &Stage<H>) {
    let ttl = stage.harness().ttl_min();
    let (announcer, other) = stage.two_processes().await;
    let [renewed, kept] = ["node-1", "node-2"].map(|id| stage.node(id));
    let both = [renewed.clone(), kept.clone()];
    let mut watcher = other.watch(stage.service()).await;
    announcer.register(&kept).await;
    let started = Instant::now();
    let mut last = started;
    while started.elapsed() < ttl * RENEWED_TTLS {
        last = Instant::now();
        announcer.register_for(&renewed, ttl).await;
        other.lists(stage.service(), &both).await;
        time::sleep(ttl / 3).await;
    }
    let within = ttl + stage.harness().gone_within();
    other
        .lists_within(stage.service(), slice::from_ref(&kept), within)
        .await;
    if last.elapsed() < ttl {
        stage.fail(
            "wait for a node to go",
            format_args!("its ttl is {ttl:?}, it went after {:?}", last.elapsed()),
        );
    }
    watcher.yields_within(slice::from_ref(&kept), within).await;
    announcer.register(&renewed).await;
    other.lists(stage.service(), &both).await;
}

/// The id of a node that is there is a conflict to another boot, whose registering and deregistering disturb nothing;
/// it is free once the holder has gone.
pub async fn an_id_held_by_another_boot_is_a_conflict<H: Harness>(stage: &Stage<H>) {
    let (holder, newcomer) = stage.two_processes().await;
    let held = built(stage.node_builder("node-1").boot("boot-1"));
    let other = built(
        stage
            .node_builder("node-1")
            .boot("boot-2")
            .metadata("newcomer", "yes"),
    );
    holder.register(&held).await;
    newcomer.lists(stage.service(), slice::from_ref(&held)).await;
    match newcomer.try_register(&other).await {
        Err(error) if error.kind() == ErrorKind::Conflict => {}
        answer => stage.fail(
            "register a held id",
            format_args!("expected is a conflict, not {answer:?}"),
        ),
    }
    newcomer.deregister(&other).await;
    // Once what came after the attempt is seen, what the attempt may have done would be seen, too.
    let beside = stage.node("node-2");
    newcomer.register(&beside).await;
    for process in [&holder, &newcomer] {
        process
            .lists(stage.service(), &[held.clone(), beside.clone()])
            .await;
    }
    holder.register(&held).await;
    holder.deregister(&held).await;
    newcomer.lists(stage.service(), slice::from_ref(&beside)).await;
    newcomer.register(&other).await;
    holder.lists(stage.service(), &[other, beside]).await;
}

/// Every call to a backend that is away answers [`ErrorKind::Unavailable`] in time, a watch at the latest by what it
/// yields first. What is refused without asking the backend still is: nothing is sent for a bad name.
///
/// To deregister a node that was never registered may also succeed, as nothing has to be done for it.
pub async fn a_backend_that_is_away_answers_unavailable_in_time<H: Absent>(stage: &Stage<H>) {
    let process = stage.process_with(stage.harness().absent().await);
    let node = stage.node("node-1");
    away(
        stage,
        "deregister",
        process.registry().deregister(&node),
        |kind| matches!(kind, None | Some(ErrorKind::Unavailable)),
    )
    .await;
    every_call_is_unavailable(stage, &process, &node).await;
    process.refuses(&BAD_NAMES).await;
}

/// A backend that stops answers [`ErrorKind::Unavailable`]; once it is back with nothing stored, it has a node again
/// after the next renewal, and watchers learn of it: by a snapshot, or by an error after which they watch again.
pub async fn a_backend_restarted_empty_has_the_node_after_the_next_renewal<H: Restart>(stage: &Stage<H>) {
    let within = stage.harness().healed_within();
    let (announcer, other) = stage.two_processes().await;
    let node = stage.node("node-1");
    let nodes = slice::from_ref(&node);
    announcer.register(&node).await;
    let mut watcher = other.watch(stage.service()).await;
    watcher.yields(nodes).await;

    stage.begin("stop the backend");
    stage.harness().stop().await;
    away(
        stage,
        "deregister",
        announcer.registry().deregister(&node),
        is_unavailable,
    )
    .await;
    every_call_is_unavailable(stage, &announcer, &node).await;

    stage.begin("start the backend, empty");
    stage.harness().start_empty().await;
    renew_until_taken(stage, &announcer, &node, within).await;
    stage.process().await.lists(stage.service(), nodes).await;
    let beside = stage.node("node-2");
    announcer.register(&beside).await;
    let both = [node, beside];
    if watcher.yields_or_ends(&both, within).await == Ending::Ended {
        watcher = other.watch(stage.service()).await;
        watcher.yields_within(&both, within).await;
    }
    announcer.deregister(&both[0]).await;
    watcher.yields_within(&both[1..], within).await;
    other.lists(stage.service(), &both[1..]).await;
}

/// Records that no node can be made of hide no other node of their service, from a list and from a watch.
pub async fn a_foreign_bad_record_hides_nothing<H: Foreign>(stage: &Stage<H>) {
    let (announcer, other) = stage.two_processes().await;
    let both = ["node-1", "node-2"].map(|id| stage.node(id));
    let mut early = other.watch(stage.service()).await;
    announcer.register(&both[0]).await;
    early.yields(&both[..1]).await;
    stage.begin("write bad records");
    if stage.harness().write_bad_records(stage.service()).await == 0 {
        stage.fail("write bad records", "the harness wrote none");
    }
    announcer.register(&both[1]).await;
    early.yields(&both).await;
    other.lists(stage.service(), &both).await;
    other.watch(stage.service()).await.yields(&both).await;
    stage.process().await.lists(stage.service(), &both).await;
    other.names(stage.service()).await;
}

async fn every_call_is_unavailable<H: Harness>(stage: &Stage<H>, process: &Process, node: &Node) {
    let registry = process.registry();
    let service = stage.service().as_str();
    let ttl = Duration::from_secs(30);
    away(stage, "register", registry.register(node, ttl), is_unavailable).await;
    away(
        stage,
        "list the nodes",
        registry.get_service(service),
        is_unavailable,
    )
    .await;
    away(
        stage,
        "list the services",
        registry.list_services(),
        is_unavailable,
    )
    .await;
    away(stage, "watch", first_of_watch(registry, service), is_unavailable).await;
}

/// Waits for a call to a backend that is away; `is_right` judges the kind of its error, `None` for success.
async fn away<H: Harness, T: fmt::Debug>(
    stage: &Stage<H>,
    what: &str,
    call: impl Future<Output = Result<T>>,
    is_right: fn(Option<ErrorKind>) -> bool,
) {
    let what = format!("{what}, while the backend is away");
    stage.begin(&what);
    match time::timeout(AWAY_WITHIN, call).await {
        Ok(answer) if is_right(answer.as_ref().err().map(crate::Error::kind)) => {}
        Ok(answer) => stage.fail(&what, format_args!("expected is `unavailable`, not {answer:?}")),
        Err(_) => stage.fail(&what, format_args!("no answer within {AWAY_WITHIN:?}")),
    }
}

fn is_unavailable(kind: Option<ErrorKind>) -> bool {
    kind == Some(ErrorKind::Unavailable)
}

/// Renews as the framework does; the first tries may meet the connections that broke.
async fn renew_until_taken<H: Harness>(stage: &Stage<H>, announcer: &Process, node: &Node, within: Duration) {
    let started = Instant::now();
    while let Err(error) = announcer.try_register(node).await {
        if error.kind() != ErrorKind::Unavailable || started.elapsed() > within {
            let after = started.elapsed();
            stage.fail(
                "renew after a restart",
                format_args!("after {after:?}: {error:?}"),
            );
        }
        time::sleep(POLL_INTERVAL).await;
    }
}

async fn first_of_watch(registry: &dyn Registry, service: &str) -> Result<()> {
    let mut watcher = registry.watch(service).await?;
    watcher.next().await.map_or(Ok(()), |first| first.map(drop))
}
