//! Nodes are asked to stop: one after another, without a registry, and twice.

use std::time::{Duration, Instant};

use micro::CallOptions;
use nix::sys::signal::Signal;
use tonic::Request;

use super::{
    super::{Kind, Load, Outcome, PATIENCE, Plan, Setup, Size, pass, wait},
    NODES, http_status,
    outage::Stage,
};
use crate::probe::{Call, probe_client::ProbeClient};

/// `drain_delay` + `drain_timeout` + 1 s, by default.
const STOP_MAX: Duration = Duration::from_secs(2 + 20 + 1);

/// F02: all nodes are restarted, one after another, again and again, under short calls and long ones.
pub(super) async fn rolling(setup: Setup) -> Outcome {
    let mut stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    let long = Plan {
        rate: setup.pace.of(5, 20),
        deadline: Duration::from_secs(15),
        work: Duration::from_secs(2),
        kind: Kind::ReadAndWrite,
        padding: 0,
    };
    let long = Load::start(stage.caller.channel.clone(), long);
    let streams = Load::start(stage.caller.channel.clone(), setup.pace.streams());
    let stops = restart(&setup, &mut stage).await;
    let (records, long, streams) = (load.stop().await, long.stop().await, streams.stop().await);
    let cut = streams.failures(Instant::now());
    let failed_long = long.failed().count();
    let said = long.failures(Instant::now());
    Outcome::new("F02")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count(
            format!("failed calls of {} that take 2 s each {said}", long.calls()),
            failed_long,
            0,
        )
        .count(
            format!("failed streams of {} {cut}", streams.calls()),
            streams.failed().count(),
            0,
        )
        .count("nodes that did not stop well", stops.unclean, 0)
        .seconds("the slowest stop", stops.slowest, STOP_MAX)
}

/// F02: the same with nothing but calls that take 2 s, as many a second as there are of the short ones otherwise.
pub(super) async fn rolling_under_long_calls(setup: Setup) -> Outcome {
    let mut stage = Stage::new(&setup, Size::One).await;
    let plan = Plan {
        rate: setup.pace.of(20, 500),
        deadline: Duration::from_secs(15),
        work: Duration::from_secs(2),
        kind: Kind::ReadAndWrite,
        padding: 0,
    };
    let load = Load::start(stage.caller.channel.clone(), plan);
    pass(setup.pace.calm()).await;
    let stops = restart(&setup, &mut stage).await;
    let records = load.stop().await;
    Outcome::new("F02")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count("nodes that did not stop well", stops.unclean, 0)
        .seconds("the slowest stop", stops.slowest, STOP_MAX)
}

/// What came of stopping nodes.
struct Stops {
    slowest: Duration,
    unclean: usize,
}

/// Restarts all nodes, one after another, again and again.
async fn restart(setup: &Setup, stage: &mut Stage) -> Stops {
    let mut slowest = Duration::ZERO;
    let mut unclean = 0;
    let mut ids = NODES.map(str::to_owned);
    for round in 0..setup.pace.of(1, 20) {
        for at in 0..NODES.len() {
            stage.nodes[at].signal(Signal::SIGTERM);
            let (status, took) = stage.nodes[at].ended(PATIENCE).await;
            unclean += usize::from(!status.success());
            slowest = slowest.max(took);
            ids[at] = format!("{}-{round}", NODES[at]);
            stage.nodes[at] = stage.laboratory.node(&ids[at]);
            let present = ids.each_ref().map(String::as_str);
            stage.laboratory.registered(&present).await;
            stage.caller.reaches(&present).await;
            pass(setup.pace.of(Duration::ZERO, Duration::from_secs(5))).await;
        }
    }
    Stops { slowest, unclean }
}

/// F03: a node is asked to stop while the registry is away.
pub(super) async fn without_registry(setup: Setup) -> Outcome {
    let mut stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    stage.laboratory.world.kill();
    stage.nodes[0].signal(Signal::SIGTERM);
    let (status, took) = stage.nodes[0].ended(PATIENCE).await;
    pass(setup.pace.calm()).await;
    let records = load.stop().await;
    Outcome::new("F03")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        // That it could not be withdrawn is a warning: nobody can do more about it.
        .holds("the node stopped well", status.success())
        .seconds("the node stopped", took, STOP_MAX)
}

/// F04: a node is asked to stop twice, with a call that would hold it up.
pub(super) async fn twice(setup: Setup) -> Outcome {
    let mut stage = Stage::new(&setup, Size::One).await;
    let snapshot = stage
        .caller
        .client
        .snapshot(super::super::SERVICE)
        .await
        .expect("the registry answers");
    let address = snapshot
        .get(NODES[0])
        .expect("it is registered")
        .address()
        .to_string();
    let mut request = Request::new(Call {
        id: 1,
        work_ms: 60_000,
        ..Call::default()
    });
    let options = CallOptions::new().node(NODES[0]).timeout(Duration::from_secs(60));
    request.extensions_mut().insert(options);
    let mut client = ProbeClient::new(stage.caller.channel.clone());
    let call = tokio::spawn(async move { client.write(request).await });
    wait("the call runs", PATIENCE, async || {
        stage.laboratory.executions().calls() > 0
    })
    .await;
    stage.nodes[0].signal(Signal::SIGTERM);
    wait("the node is not ready any more", PATIENCE, async || {
        http_status(&address, "/ready").await == Some(503)
    })
    .await;
    stage.nodes[0].signal(Signal::SIGINT);
    let (_, took) = stage.nodes[0].ended(PATIENCE).await;
    let answer = call.await.expect("a call does not panic");
    Outcome::new("F04")
        .holds("the call was cut", answer.is_err())
        .seconds("ended after the second signal", took, Duration::from_secs(1))
}
