//! The network: a node falls silent without a word, another service has taken its place, or it has no files left.

use std::{
    net::SocketAddr,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use micro::{CallOptions, registry::Static};
use micro_test_servers::Shim;
use nix::sys::signal::Signal;
use tokio::net::TcpStream;

use super::{
    super::{
        Kind, Laboratory, Load, Outcome, PATIENCE, Process, Setup, Size, namespace::Namespace, pass,
        picks::Picks, wait, world::free_port,
    },
    NODES, http_status,
    outage::Stage,
};

/// How many files the process may have open in F37.
const FILES_MAX: usize = 64;

/// F09: the way to one of three nodes is a black hole: what is sent there is lost, and nobody says so.
pub(super) async fn black_hole(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let namespace = Namespace::make();
    // The registry listens on loopback, which every namespace has of its own.
    let registry: SocketAddr = format!("{}:0", namespace.registry()).parse().expect("an address");
    let shim = Shim::listen(registry, laboratory.world.address())
        .await
        .expect("a shim");
    let address = format!("{}:{}", namespace.inside(), free_port());
    let [one, two] = [laboratory.node(NODES[0]), laboratory.node(NODES[1])];
    let mut inside = namespace.command(&laboratory.command(NODES[2]));
    let three = Process::start(
        inside
            .env("MICRO_REGISTRY_ADDRESS", shim.address())
            .env("MICRO_SERVER_ADDRESS", &address),
    );
    laboratory.registered(&NODES).await;
    let caller = laboratory.caller();
    caller.reaches(&NODES).await;
    let stage = Stage::of(laboratory, [one, two, three], caller);
    let channel = stage
        .caller
        .channel
        .clone()
        .options(CallOptions::new().hedge_delay(setup.pace.hedge_delay()));
    let load = Load::start(channel, setup.pace.plan(Kind::Read));
    pass(setup.pace.calm()).await;
    let picks = Picks::of(stage.caller.channel.clone(), NODES[2]);
    let lost = Instant::now();
    namespace.lose_answers();
    pass(setup.pace.of(Duration::from_secs(8), Duration::from_secs(30))).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let slowest = records.percentile(1.0, lost, ended);
    let deadline = setup.pace.plan(Kind::Read).deadline;
    Outcome::new("F09")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .time("the slowest call", slowest, deadline + Duration::from_millis(100))
        .part(
            "of the calls went to the lost node first, after half a second",
            records.late(setup.pace.hedge_delay(), lost + Duration::from_millis(500), ended),
            0.01,
        )
        .share(
            "of the looks at the lost node found more calls than the one before, after half a second",
            picks.picked(lost + Duration::from_millis(500), ended),
            0.01,
            0.15,
        )
        .avoided(picks.avoided(lost, ended), Duration::from_millis(1500))
}

/// F33: another service listens where a node of ours did, and nobody has told the callers.
pub(super) async fn another_service(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let addresses = [0; 3].map(|_| format!("127.0.0.1:{}", free_port()));
    let start = |at: usize, name: &str| {
        Process::start(
            laboratory
                .command(&format!("{name}-{at}"))
                .env("MICRO_SERVER_NAME", name)
                .env("MICRO_SERVER_ADDRESS", &addresses[at])
                .env("MICRO_REGISTRY", "static")
                .env("MICRO_REGISTRY_ADDRESS", "nobody=127.0.0.1:1"),
        )
    };
    let mut nodes = [0, 1, 2].map(|at| start(at, "probe"));
    let list = addresses
        .each_ref()
        .map(|address| format!("probe={address}"))
        .join(",");
    let registry: Static = list.parse().expect("a good list");
    let caller = Laboratory::caller_of(Arc::new(registry), |client| client);
    caller.reaches(&addresses.each_ref().map(String::as_str)).await;
    let load = Load::start(caller.channel.clone(), setup.pace.plan(Kind::Read));
    pass(setup.pace.calm()).await;
    nodes[0].signal(Signal::SIGTERM);
    nodes[0].ended(PATIENCE).await;
    nodes[0] = start(0, "other");
    wait("the other service answers", PATIENCE, async || {
        http_status(&addresses[0], "/health").await == Some(200)
    })
    .await;
    pass(setup.pace.of(Duration::from_secs(5), Duration::from_secs(30))).await;
    let records = load.stop().await;
    let executions = laboratory.executions();
    Outcome::new("F33")
        .load(&records, &executions)
        .no_failure()
        .count(
            "calls that the other service ran",
            executions.of("other-0").len(),
            0,
        )
}

/// F37: a node has no file left to open.
pub(super) async fn no_files(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new("prlimit");
    let told = laboratory.command(NODES[0]);
    command
        .arg(format!("--nofile={FILES_MAX}"))
        .arg(told.get_program());
    for (name, value) in told.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .env("MICRO_SERVER_ADDRESS", &address)
        .current_dir(laboratory.folder());
    let mut node = Process::start(&mut command);
    laboratory.registered(&[NODES[0]]).await;
    let caller = laboratory.caller();
    caller.reaches(&[NODES[0]]).await;
    let load = Load::start(caller.channel.clone(), setup.pace.plan(Kind::ReadAndWrite));
    pass(setup.pace.calm()).await;
    let mut idle = Vec::new();
    for _ in 0..2 * FILES_MAX {
        idle.push(TcpStream::connect(&address).await.expect("the system accepts it"));
    }
    let time = setup.pace.of(Duration::from_secs(4), Duration::from_secs(30));
    let spent = node.processor_part(time).await;
    // With the load alone, for as long.
    drop(idle);
    let freed = Instant::now();
    wait("the node accepts again", PATIENCE, async || {
        http_status(&address, "/health").await == Some(200)
    })
    .await;
    let recovered = freed.elapsed();
    let usual = node.processor_part(time).await;
    let records = load.stop().await;
    let lives = node.runs();
    Outcome::new("F37")
        .load(&records, &laboratory.executions())
        .no_failure()
        .holds("the process lives", lives)
        .share(
            "of a core more than the load alone takes",
            (spent - usual).max(0.0),
            0.2,
            0.5,
        )
        .seconds(
            "accepted again once there were files",
            recovered,
            Duration::from_secs(1),
        )
}
