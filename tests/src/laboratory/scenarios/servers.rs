//! What happens to nodes: they are killed, stopped, slow, or ill.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{
    super::{Kind, Laboratory, Load, Outcome, Setup, Size, pass},
    NODES,
};

/// F01: one of three nodes is killed.
pub(super) async fn killed(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let pace = laboratory.pace;
    let nodes = laboratory.nodes(NODES).await;
    let caller = laboratory.caller();
    caller.reaches(&NODES).await;
    let load = Load::start(caller.channel.clone(), pace.plan(Kind::ReadAndWrite));
    pass(pace.calm()).await;
    let killed = Instant::now();
    nodes[0].signal(Signal::SIGKILL);
    pass(pace.calm()).await;
    let records = load.stop().await;
    let (idempotent, others): (Vec<_>, Vec<_>) = records.failed().partition(|record| record.idempotent);
    // What was in flight on the node when it died: a third of the calls of as long as a call takes.
    let in_flight = records
        .all()
        .iter()
        .filter(|record| record.started < killed && record.ended > killed && !record.idempotent)
        .count();
    let (idempotent, others) = (idempotent.len(), others.len());
    Outcome::new("F01")
        .load(&records, &laboratory.executions())
        .count("idempotent calls that failed", idempotent, 0)
        .count("other calls that failed, of those in flight", others, in_flight)
        .seconds(
            "until the node was avoided",
            records.avoided_after(NODES[0], killed),
            Duration::from_secs(1),
        )
}
