//! What happens to nodes: they are killed, stopped, slow, or ill.

use std::time::{Duration, Instant};

use micro::CallOptions;
use nix::sys::signal::Signal;
use tonic::Request;

use super::{
    super::{
        Caller, Kind, Laboratory, Load, Outcome, PATIENCE, Plan, Records, Setup, Size, pass, picks::Picks,
    },
    NODES,
    outage::Stage,
};
use crate::probe::{Behaviour, probe_client::ProbeClient};

/// How long the only node is stopped.
const STALL: Duration = Duration::from_secs(3);
/// Within this time a node that answers nothing is called no more.
const SOON: Duration = Duration::from_millis(500);
/// How long calls may go to such a node, on a machine without other work.
const AVOIDED_MAX: Duration = Duration::from_millis(1500);

/// F01: one of three nodes is killed.
pub(super) async fn killed(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let streams = Load::start(stage.caller.channel.clone(), setup.pace.streams());
    let load = stage.load(&setup).await;
    let picks = Picks::of(stage.caller.channel.clone(), NODES[0]);
    let killed = Instant::now();
    stage.nodes[0].signal(Signal::SIGKILL);
    pass(setup.pace.of(Duration::from_secs(4), Duration::from_secs(30))).await;
    let ended = Instant::now();
    let (records, streams) = (load.stop().await, streams.stop().await);
    let (idempotent, others): (Vec<_>, Vec<_>) = records.failed().partition(|record| record.idempotent);
    let in_flight = |records: &Records| {
        let records = records.all().iter();
        let at_once = records.filter(|record| record.started < killed && record.ended > killed);
        at_once.filter(|record| !record.idempotent).count()
    };
    let unclear = streams
        .failed()
        .filter(|record| record.code != tonic::Code::Unavailable || record.node.as_deref() != Some(NODES[0]));
    let (idempotent, others) = (idempotent.len(), others.len());
    Outcome::new("F01")
        .load(&records, &stage.laboratory.executions())
        .count("idempotent calls that failed", idempotent, 0)
        .count(
            "other calls that failed, of those in flight",
            others,
            in_flight(&records),
        )
        .count(
            format!("streams that failed, of those in flight, of {}", streams.calls()),
            streams.failed().count(),
            in_flight(&streams),
        )
        .count(
            format!(
                "streams that ended otherwise than well or UNAVAILABLE by the killed node {}",
                streams.failures(killed)
            ),
            unclear.count(),
            0,
        )
        .avoided(picks.left_out(killed), Duration::from_secs(1))
        .share(
            "of the time after half a second calls could go to the killed node",
            picks.ready(killed + SOON, ended),
            0.0,
            0.3,
        )
}

/// F05: one of three nodes is stopped, and goes on.
pub(super) async fn stopped(setup: Setup) -> Outcome {
    let (stage, load) = hedged(&setup, Kind::Read).await;
    let picks = Picks::of(stage.caller.channel.clone(), NODES[0]);
    let stopped = Instant::now();
    stage.nodes[0].signal(Signal::SIGSTOP);
    pass(setup.pace.of(Duration::from_secs(8), Duration::from_secs(30))).await;
    stage.nodes[0].signal(Signal::SIGCONT);
    let continued = Instant::now();
    stage.caller.reaches(&[NODES[0]]).await;
    let back = continued.elapsed();
    pass(setup.pace.calm()).await;
    let records = load.stop().await;
    Outcome::new("F05")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .time(
            "the slowest call but one in a hundred",
            records.percentile(0.99, stopped, continued),
            setup.pace.plan(Kind::Read).deadline,
        )
        .part(
            "of the calls went to the stopped node first, after half a second",
            records.late(setup.pace.hedge_delay(), stopped + SOON, continued),
            0.01,
        )
        .avoided(picks.avoided(stopped, continued), AVOIDED_MAX)
        .seconds("called again after it went on", back, Duration::from_secs(30))
}

/// F05: the only node is stopped for longer than its callers wait. Whom it finds gone costs nobody else his call.
pub(super) async fn stalled(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let [node] = laboratory.nodes([NODES[0]]).await;
    let caller = laboratory.caller();
    caller.reaches(&[NODES[0]]).await;
    // As many as one connection has room for; to make another, the node would have to run.
    let plan = Plan {
        rate: 150,
        deadline: Duration::from_secs(1),
        ..setup.pace.plan(Kind::Read)
    };
    let patient = Plan {
        rate: 5,
        deadline: Duration::from_secs(60),
        work: STALL + Duration::from_secs(2),
        kind: Kind::ReadAndWrite,
        padding: 0,
    };
    let (load, patient) = (
        Load::start(caller.channel.clone(), plan),
        Load::start(caller.channel.clone(), patient),
    );
    pass(setup.pace.calm()).await;
    for _ in 0..setup.pace.of(1, 10) {
        node.signal(Signal::SIGSTOP);
        pass(STALL).await;
        node.signal(Signal::SIGCONT);
        pass(STALL).await;
    }
    let (records, patient) = (load.stop().await, patient.stop().await);
    let given_up = records
        .failed()
        .filter(|record| record.code == tonic::Code::DeadlineExceeded)
        .count();
    let said = patient.failures(Instant::now());
    Outcome::new("F05")
        .load(&records, &laboratory.executions())
        .holds("callers gave up more than h2 allows by itself", given_up > 20)
        .count(
            "calls that failed although nobody gave them up",
            records.failed().count() - given_up,
            0,
        )
        .count(
            format!(
                "failed calls of {} that were in flight meanwhile {said}",
                patient.calls()
            ),
            patient.failed().count(),
            0,
        )
}

/// F06: one of three nodes is ten times as slow.
pub(super) async fn slow(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    // Beside other work 5 ms and 50 are much the same.
    let work = setup.pace.of(Duration::from_millis(50), Duration::from_millis(5));
    let plan = Plan {
        work,
        ..setup.pace.plan(Kind::Read)
    };
    let load = hedging(&stage, &setup, plan);
    pass(setup.pace.calm()).await;
    pass(setup.pace.of(Duration::from_secs(3), Duration::ZERO)).await;
    let slowed = Instant::now();
    let calm = slowed - setup.pace.calm();
    behave(
        &stage.caller,
        NODES[0],
        Behaviour {
            extra_ms: u32::try_from(work.as_millis()).expect("it is short") * 9,
            ..Behaviour::default()
        },
    )
    .await;
    pass(setup.pace.of(Duration::from_secs(5), Duration::from_secs(30))).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let before = records.percentile(0.99, calm, slowed);
    let after = records.percentile(0.99, slowed, ended);
    let executions = stage.laboratory.executions();
    let there = executions.of(NODES[0]).iter().copied().collect();
    let settled = slowed + Duration::from_secs(1);
    Outcome::new("F06")
        .load(&records, &executions)
        .no_failure()
        .share(
            "of the calls ran on the slow node, after a second",
            records.part_of(&there, settled, ended),
            0.05,
            0.15,
        )
        .seconds(
            "the slowest call but one in a hundred, to twice what it was before",
            after,
            before * 2,
        )
}

/// F07: one of three nodes fails everything at once, which makes it look fast.
pub(super) async fn failing(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let load = Load::start(stage.caller.channel.clone(), setup.pace.plan(Kind::Read));
    pass(setup.pace.calm()).await;
    behave(
        &stage.caller,
        NODES[0],
        Behaviour {
            fails: true,
            ..Behaviour::default()
        },
    )
    .await;
    let fails = Instant::now();
    pass(setup.pace.of(Duration::from_secs(5), Duration::from_secs(30))).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let executions = stage.laboratory.executions();
    let (settled, refused) = (fails + Duration::from_secs(1), executions.refused_by(NODES[0]));
    Outcome::new("F07")
        .load(&records, &executions)
        .no_failure()
        .holds("the node refused calls", !refused.is_empty())
        .avoided(
            records.quiet_after(&refused, fails, ended),
            Duration::from_secs(1),
        )
        .share(
            "of the calls went to the failing node, after a second",
            records.part_of(&refused, settled, ended),
            0.05,
            0.15,
        )
}

/// F08: all nodes say that they are ill, and answer all the same.
pub(super) async fn all_ill(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    for node in NODES {
        let told = Behaviour {
            unhealthy: true,
            ..Behaviour::default()
        };
        behave(&stage.caller, node, told).await;
    }
    // Less than the time for which a client keeps nodes that the registry has lost all at once.
    pass(setup.pace.of(Duration::from_secs(8), Duration::from_secs(45))).await;
    let withdrawn = stage
        .nodes
        .iter()
        .filter(|node| node.said("withdrawn") > 0)
        .count();
    let records = load.stop().await;
    Outcome::new("F08")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count("nodes that did not withdraw", NODES.len() - withdrawn, 0)
}

/// F40: a handler blocks every thread that calls run on.
pub(super) async fn blocked(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let follower = stage.laboratory.follow();
    stage.caller.reaches(&NODES).await;
    let load = hedging(&stage, &setup, setup.pace.plan(Kind::Read));
    let picks = Picks::of(stage.caller.channel.clone(), NODES[0]);
    let blocked = Instant::now();
    let blocking = setup.pace.ttl() * 2;
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    for id in 0..threads {
        let call = crate::probe::Call {
            id: id as u64,
            block_ms: u32::try_from(blocking.as_millis()).expect("not that long"),
            ..Default::default()
        };
        let mut request = Request::new(call);
        let options = CallOptions::new().node(NODES[0]).timeout(blocking * 2).retries(0);
        request.extensions_mut().insert(options);
        let mut client = ProbeClient::new(stage.caller.channel.clone());
        // Nobody waits for the answer.
        tokio::spawn(async move { client.write(request).await.is_ok() });
    }
    pass(blocking).await;
    let freed = Instant::now();
    pass(setup.pace.ttl() / 2).await;
    let ended = Instant::now();
    let records = load.stop().await;
    Outcome::new("F40")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count("changes of the registry", follower.seen.changes(blocked), 0)
        .part(
            "of the calls went to the blocked node first, after half a second",
            records.late(setup.pace.hedge_delay(), blocked + SOON, ended),
            0.01,
        )
        .avoided(picks.avoided(blocked, freed), AVOIDED_MAX)
}

/// F44: a handler panics.
pub(super) async fn panics(setup: Setup) -> Outcome {
    let mut stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    let (mut internal, mut told, panics) = (0, 0, 50);
    for id in 0..panics {
        let mut request = Request::new(crate::probe::Call {
            id,
            panic: true,
            ..Default::default()
        });
        request.extensions_mut().insert(CallOptions::new().node(NODES[0]));
        let answer = ProbeClient::new(stage.caller.channel.clone())
            .write(request)
            .await;
        let status = answer.expect_err("the handler panics");
        internal += usize::from(status.code() == tonic::Code::Internal);
        told += usize::from(status.message().contains("handler panics"));
    }
    pass(setup.pace.calm()).await;
    let records = load.stop().await;
    let lives = stage.nodes[0].runs();
    Outcome::new("F44")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .holds("the process lives", lives)
        .holds("every caller was told INTERNAL", internal == panics as usize)
        .count("callers who were told the text of the panic", told, 0)
}

/// Three nodes, and a load on them whose late calls are sent to a second node.
async fn hedged(setup: &Setup, kind: Kind) -> (Stage, Load) {
    let stage = Stage::new(setup, Size::One).await;
    let load = hedging(&stage, setup, setup.pace.plan(kind));
    pass(setup.pace.calm()).await;
    (stage, load)
}

/// A load on three nodes whose late calls are sent to a second one.
pub(super) fn hedging(stage: &Stage, setup: &Setup, plan: Plan) -> Load {
    let options = CallOptions::new().hedge_delay(setup.pace.hedge_delay());
    Load::start(stage.caller.channel.clone().options(options), plan)
}

/// Tells one node how to behave.
pub(super) async fn behave(caller: &Caller, node: &str, behaviour: Behaviour) -> Behaviour {
    let mut request = Request::new(behaviour);
    let options = CallOptions::new().node(node).timeout(PATIENCE);
    request.extensions_mut().insert(options);
    let mut client = ProbeClient::new(caller.channel.clone());
    let told = client.behave(request).await;
    told.expect("the node is told").into_inner()
}
