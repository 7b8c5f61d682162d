//! The registry is away: at the start, for long, with its memory lost, its leader, or its quorum.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use micro::registry::Registry;

use super::{
    super::{
        Caller, Kind, Laboratory, Load, Outcome, Process, Records, Setup, Size, pass, presence::Presence,
        wait, world::free_port,
    },
    NODES, http_status,
};

/// How long a node that lives may be out of the set that calls pick from: a connection may break on a busy machine, and is
/// made anew.
const ABSENCE: Duration = Duration::from_secs(1);
/// The control thread of the framework, as the system knows it.
const CONTROL: &str = "micro-control";

/// F11: the registry is down when a service starts.
pub(super) async fn down_at_start(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    laboratory.world.kill();
    let address = format!("127.0.0.1:{}", free_port());
    let mut node = Process::start(
        laboratory
            .command("one")
            .env("MICRO_SERVER_ADDRESS", &address)
            .env("RUST_LOG", "warn"),
    );
    wait("the node answers /health", super::super::PATIENCE, async || {
        http_status(&address, "/health").await == Some(200)
    })
    .await;
    let answers = Instant::now();
    let caller = laboratory.caller();
    let down = setup.pace.of(Duration::from_secs(3), Duration::from_secs(60));
    let plan = setup.pace.plan(Kind::Read);
    let call = Load::start(caller.channel.clone(), super::super::Plan { rate: 10, ..plan });
    pass(down).await;
    let ready = http_status(&address, "/ready").await;
    let refused = call.stop().await;
    let lived = node.runs();
    let warnings = node.said("not registered, so not ready");
    let allowed = 2 + usize::try_from(answers.elapsed().as_secs() / 10).expect("not that long");
    laboratory.world.start_again().await;
    let registered = laboratory.registered(&["one"]).await;
    caller.reaches(&["one"]).await;
    let told = refused
        .all()
        .iter()
        .filter(|record| {
            record.code == tonic::Code::Unavailable && record.message.contains(setup.backend.name())
        })
        .count();
    let late = refused
        .all()
        .iter()
        .filter(|record| record.took() > plan.deadline * 2)
        .count();
    Outcome::new("F11")
        .holds("the process lives without a registry", lived)
        .holds("/ready says 503", ready == Some(503))
        .holds("it warns at once", warnings > 0)
        .count("warnings, one at once and then one every 10 s", warnings, allowed)
        .count(
            "calls not told UNAVAILABLE with the registry's name",
            refused.calls() - told,
            0,
        )
        .count("calls answered after their deadline", late, 0)
        .seconds(
            "registered after the registry came",
            registered,
            Duration::from_secs(7),
        )
}

/// F12: the registry restarts and has forgotten everything.
pub(super) async fn memory_lost(setup: Setup, size: Size) -> Outcome {
    let stage = Stage::new(&setup, size).await;
    let load = stage.load(&setup).await;
    let wiped = Instant::now();
    stage.laboratory.world.start_wiped().await;
    let registered = stage.laboratory.registered(&NODES).await;
    pass(setup.pace.calm()).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let renewal = setup.pace.ttl() / 3;
    stage.outcome("F12", &records, wiped, ended).seconds(
        "all registered after the registry came",
        registered,
        renewal + Duration::from_secs(2),
    )
}

/// F13: the registry is away for long.
pub(super) async fn away(setup: Setup, size: Size) -> Outcome {
    let stage = Stage::new(&setup, size).await;
    let load = stage.load(&setup).await;
    let stopped = Instant::now();
    let used = || -> Duration { stage.nodes.iter().map(|node| node.processor_time(CONTROL)).sum() };
    let before = used();
    stage.laboratory.world.kill();
    pass(setup.pace.of(Duration::from_secs(20), Duration::from_secs(600))).await;
    let spent = used() - before;
    let down = stopped.elapsed();
    stage.laboratory.world.start_again().await;
    let back = Instant::now();
    let _fourth = stage.laboratory.node("four");
    let all = [NODES[0], NODES[1], NODES[2], "four"];
    stage.laboratory.registered(&all).await;
    stage.caller.reaches(&all).await;
    let converged = back.elapsed();
    let ended = Instant::now();
    let records = load.stop().await;
    let each = f64::from(u16::try_from(NODES.len()).expect("few"));
    stage
        .outcome("F13", &records, stopped, ended)
        .part(
            "of a core that one node's attempts took",
            spent.as_secs_f64() / down.as_secs_f64() / each,
            0.005,
        )
        .seconds(
            "a new node is called after the registry came",
            converged,
            Duration::from_secs(10),
        )
}

/// F14: the leader of the registry is killed.
pub(super) async fn leader_killed(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::Three).await;
    let load = stage.load(&setup).await;
    let killed = Instant::now();
    let leader = stage.laboratory.world.leader().await;
    stage.laboratory.world.nodes()[leader].kill();
    pass(setup.pace.of(setup.pace.ttl() * 2, Duration::from_secs(60))).await;
    stage.laboratory.world.start_again().await;
    pass(setup.pace.calm()).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let changes = stage.caller.seen.changes(killed);
    let returns = stage.caller.seen.returns(killed);
    stage
        .outcome("F14", &records, killed, ended)
        .count("changes of the set", changes, 0)
        .registrations(returns, 0)
}

/// F15: two of three servers of the registry are killed, and come back.
pub(super) async fn quorum_lost(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::Three).await;
    let load = stage.load(&setup).await;
    let lost = Instant::now();
    let world = &stage.laboratory.world;
    world.nodes()[0].kill();
    world.nodes()[1].kill();
    pass(setup.pace.of(Duration::from_secs(15), Duration::from_secs(300))).await;
    world.start_again().await;
    let back = Instant::now();
    stage.laboratory.registered(&NODES).await;
    let registered = back.elapsed();
    pass(setup.pace.calm()).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let returns = stage.caller.seen.returns(lost);
    stage
        .outcome("F15", &records, lost, ended)
        .registrations(returns, NODES.len())
        .seconds(
            "all registered after the quorum came",
            registered,
            Duration::from_secs(10),
        )
}

/// F17: the registry hangs, for twice the time that a registration holds.
pub(super) async fn hangs(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    let paused = Instant::now();
    let world = &stage.laboratory.world;
    world.nodes()[0].pause();
    pass(setup.pace.ttl() * 2).await;
    world.nodes()[0].resume();
    let resumed = Instant::now();
    // What expired goes within the first moments; from then on all must be there, and stay.
    stage.laboratory.registered(&NODES).await;
    let mut registered = resumed.elapsed();
    let settled = setup.pace.of(Duration::from_secs(3), Duration::from_secs(15));
    while resumed.elapsed() < settled {
        pass(Duration::from_millis(100)).await;
        if stage.laboratory.registered(&NODES).await > Duration::from_millis(500) {
            registered = resumed.elapsed();
        }
    }
    let ended = Instant::now();
    let records = load.stop().await;
    stage.outcome("F17", &records, paused, ended).seconds(
        "all registered after the registry went on",
        registered,
        Duration::from_secs(7),
    )
}

/// Three nodes, a client that reaches them, and what is looked at in most faults of a registry.
pub(super) struct Stage {
    pub(super) laboratory: Laboratory,
    pub(super) nodes: [Process; 3],
    pub(super) caller: Caller,
    presence: Presence,
}

impl Stage {
    pub(super) async fn new(setup: &Setup, size: Size) -> Self {
        Self::on(Laboratory::start(setup, size).await).await
    }

    pub(super) async fn on(laboratory: Laboratory) -> Self {
        let registry = laboratory.world.registry();
        Self::following(laboratory, registry).await
    }

    /// With a client of this handle of the registry.
    pub(super) async fn following(laboratory: Laboratory, registry: Arc<dyn Registry>) -> Self {
        let nodes = laboratory.nodes(NODES).await;
        let caller = Laboratory::caller_of(registry, |client| client);
        caller.reaches(&NODES).await;
        Self::of(laboratory, nodes, caller)
    }

    /// With nodes and a client that run already.
    pub(super) fn of(laboratory: Laboratory, nodes: [Process; 3], caller: Caller) -> Self {
        let presence = Presence::of(caller.channel.clone());
        Self {
            laboratory,
            nodes,
            caller,
            presence,
        }
    }

    /// A load that has run for a while.
    pub(super) async fn load(&self, setup: &Setup) -> Load {
        let load = Load::start(self.caller.channel.clone(), setup.pace.plan(Kind::ReadAndWrite));
        pass(setup.pace.calm()).await;
        load
    }

    /// No call failed, and no node was ever out of the set that calls pick from.
    pub(super) fn outcome(
        &self,
        fault: &'static str,
        records: &Records,
        from: Instant,
        to: Instant,
    ) -> Outcome {
        let mut outcome = Outcome::new(fault)
            .load(records, &self.laboratory.executions())
            .no_failure();
        for node in NODES {
            outcome = outcome.time(
                format!("the longest time in which node {node} was not ready for calls"),
                self.presence.absence(node, from, to),
                ABSENCE,
            );
        }
        outcome
    }
}
