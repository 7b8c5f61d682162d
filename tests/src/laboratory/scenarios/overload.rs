//! More is asked of a node than it can do: calls, memory, or time.

use std::time::{Duration, Instant};

use micro::{CallOptions, Channel};
use tonic::Code;

use super::{
    super::{
        Caller, Kind, Laboratory, Load, Outcome, Pace, Plan, Process, Records, SERVICE, Setup, Size, pass,
        world::free_port,
    },
    NODES, http_status,
    outage::Stage,
};

/// How many calls a node of these scenarios takes at a time.
const CALLS_MAX: u32 = 10;

/// How much more memory a node may take under ten times the load that it is made for than under that load, as long as what
/// waits has bounds; in 10 s without them, ten times that would wait.
const MEMORY_MAX: usize = 32 * 1024 * 1024;
/// How large the messages are.
const PADDING: usize = 64 * 1024;

/// How long handlers of F43 work, and how long their callers wait.
const SLOW: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(1);

/// F41: ten times the load that a node is made for, in large messages.
pub(super) async fn memory(setup: Setup) -> Outcome {
    let Small {
        laboratory,
        node,
        caller,
        ..
    } = Small::start(&setup).await;
    let time = setup.pace.of(Duration::from_secs(3), Duration::from_secs(30));
    let padding = setup.pace.of(PADDING / 4, PADDING);
    let usual = Load::start(
        once(&caller),
        plan(setup.pace, capacity(setup.pace) * 4 / 5, padding),
    );
    pass(time).await;
    usual.stop().await;
    let before = node.memory_peak();
    let load = Load::start(
        once(&caller),
        plan(setup.pace, capacity(setup.pace) * 10, padding),
    );
    pass(time).await;
    let more = node.memory_peak().saturating_sub(before);
    let records = load.stop().await;
    Outcome::new("F41")
        .load(&records, &laboratory.executions())
        .holds(
            "most of the load was refused",
            failed(&records) > records.calls() / 2,
        )
        .count(
            "failures other than RESOURCE_EXHAUSTED",
            others(&records, Code::ResourceExhausted),
            0,
        )
        .count(
            "connections ended for too many resets",
            node.said("streams reached limit"),
            0,
        )
        .count(
            "bytes of memory more than under the load it is made for",
            more,
            MEMORY_MAX,
        )
}

/// F42: ten times the calls that a node can do.
pub(super) async fn overload(setup: Setup) -> Outcome {
    let Small {
        laboratory,
        node: _node,
        caller,
        address,
    } = Small::start(&setup).await;
    let follower = laboratory.follow();
    caller.reaches(&[NODES[0]]).await;
    let load = Load::start(once(&caller), plan(setup.pace, capacity(setup.pace) * 10, 0));
    pass(setup.pace.calm()).await;
    let from = Instant::now();
    let time = setup.pace.of(setup.pace.ttl(), Duration::from_secs(60));
    let (mut healthy, mut asked, mut slowest) = (0, 0, Duration::ZERO);
    while from.elapsed() < time {
        let health = Instant::now();
        asked += 1;
        healthy += usize::from(http_status(&address, "/ready").await == Some(200));
        slowest = slowest.max(health.elapsed());
        pass(Duration::from_millis(100)).await;
    }
    let to = Instant::now();
    let records = load.stop().await;
    let within = records
        .all()
        .iter()
        .filter(|record| (from..to).contains(&record.started));
    let (good, refused): (Vec<_>, Vec<_>) = within.partition(|record| record.code == Code::Ok);
    let mut waits: Vec<_> = refused.iter().map(|record| record.took()).collect();
    waits.sort();
    // On a machine with other work the slowest ones tell of that work.
    let (percent, slower) = setup.pace.of((50, "half of them"), (99, "one in a hundred"));
    let most = waits
        .get(waits.len() * percent / 100)
        .copied()
        .unwrap_or_default();
    let unadvised = refused.iter().filter(|record| !record.pushback).count();
    let possible = f64::from(capacity(setup.pace)) * (to - from).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let missing = 1.0 - good.len() as f64 / possible;
    Outcome::new("F42")
        .load(&records, &laboratory.executions())
        .count(
            "failures other than RESOURCE_EXHAUSTED",
            others(&records, Code::ResourceExhausted),
            0,
        )
        .count("calls refused without a word on when to try again", unadvised, 0)
        .holds(
            "most of the load was refused",
            failed(&records) > records.calls() / 2,
        )
        // Ten times as much would be everything.
        .holds("at least half of what can be done is done", missing < 0.5)
        .part("of what can be done is not done", missing.max(0.0), 0.2)
        .time(
            format!("the slowest refusal but {slower}"),
            most,
            Duration::from_millis(5),
        )
        .count("times it did not say that it is ready", asked - healthy, 0)
        .time(
            "the slowest answer about its health",
            slowest,
            Duration::from_millis(100),
        )
        .count("changes of the registry", follower.seen.changes(from), 0)
}

/// F43: handlers take longer than their callers wait.
pub(super) async fn slow_handlers(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let plan = Plan {
        rate: setup.pace.of(100, 500),
        deadline: PATIENCE,
        work: SLOW,
        kind: Kind::ReadAndWrite,
        padding: 0,
    };
    let before_it = stage.laboratory.executions().calls();
    let half = setup.pace.of(Duration::from_secs(3), Duration::from_secs(30));
    let load = Load::start(stage.caller.channel.clone(), plan);
    let peaks = || stage.nodes.each_ref().map(Process::memory_peak);
    pass(half).await;
    let before = peaks();
    pass(half).await;
    let after = peaks();
    let records = load.stop().await;
    // What the last calls left behind.
    pass(PATIENCE).await;
    let executions = stage.laboratory.executions();
    let dropped = executions.dropped();
    let mut late = dropped.to_vec();
    late.sort();
    // On a machine with other work the last ones tell of that work.
    let (rank, later) = setup
        .pace
        .of((late.len() / 2, " but half of them"), (late.len(), ""));
    let latest = late[..rank].last().copied().unwrap_or_default();
    let grown = before
        .iter()
        .zip(after)
        .map(|(before, after)| after.saturating_sub(*before));
    Outcome::new("F43")
        .load(&records, &executions)
        .count(
            "calls that did not end at their deadline",
            others(&records, Code::DeadlineExceeded) + good(&records),
            0,
        )
        .count(
            "handlers that went on",
            (executions.calls() - before_it).saturating_sub(dropped.len()),
            0,
        )
        .seconds(
            format!("the last handler{later} was dropped after its deadline"),
            latest,
            Duration::from_millis(50),
        )
        .count(
            "bytes of memory more in the second half than in the first",
            grown.max().unwrap_or(0),
            MEMORY_MAX / 4,
        )
}

/// A node that takes few calls at a time, and a client of it.
struct Small {
    laboratory: Laboratory,
    node: Process,
    caller: Caller,
    address: String,
}

impl Small {
    async fn start(setup: &Setup) -> Self {
        let laboratory = Laboratory::start(setup, Size::One).await;
        let settings = laboratory.folder().join("small.toml");
        std::fs::write(&settings, format!("[server]\ncalls_max = {CALLS_MAX}\n"))
            .expect("a file of settings");
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = laboratory.command(NODES[0]);
        let node = Process::start(
            command
                .env("MICRO_CONFIG", settings)
                .env("MICRO_SERVER_ADDRESS", &address),
        );
        laboratory.registered(&[NODES[0]]).await;
        let caller = laboratory.caller();
        caller.reaches(&[NODES[0]]).await;
        Self {
            laboratory,
            node,
            caller,
            address,
        }
    }
}

/// A channel whose calls are tried once.
fn once(caller: &Caller) -> Channel {
    let channel = caller.client.channel(SERVICE);
    channel.options(CallOptions::new().retries(0))
}

/// How long each call works.
fn work(pace: Pace) -> Duration {
    pace.of(Duration::from_millis(500), Duration::from_millis(200))
}

/// How many calls a second a node of these scenarios can do.
fn capacity(pace: Pace) -> u32 {
    CALLS_MAX * pace.of(2, 5)
}

fn plan(pace: Pace, rate: u32, padding: usize) -> Plan {
    Plan {
        rate,
        deadline: Duration::from_secs(5),
        work: work(pace),
        kind: Kind::Read,
        padding,
    }
}

fn good(records: &Records) -> usize {
    records.calls() - failed(records)
}

fn failed(records: &Records) -> usize {
    records.failed().count()
}

/// The failures with another code.
fn others(records: &Records, code: Code) -> usize {
    records.failed().filter(|record| record.code != code).count()
}
