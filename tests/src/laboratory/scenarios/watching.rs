//! The registry answers late, falls silent, or goes back in time.

use std::time::{Duration, Instant};

use micro_test_servers::Shim;

use super::{
    super::{Backend, Laboratory, Outcome, PATIENCE, Setup, Size, World, pass, wait},
    NODES,
    outage::Stage,
};

const FOUR: [&str; 4] = [NODES[0], NODES[1], NODES[2], "four"];

/// F16: every answer of the registry comes late, by a sixth of what a registration holds.
pub(super) async fn slow(setup: Setup) -> Outcome {
    let world = World::start(setup.backend, Size::One).await;
    let shim = Shim::start(world.address()).await.expect("a shim");
    let stage = Stage::on(Laboratory::with(&setup, world.at(shim.address()))).await;
    let follower = stage.laboratory.follow();
    let load = stage.load(&setup).await;
    let slowed = Instant::now();
    shim.delay(setup.pace.ttl() / 6);
    pass(setup.pace.ttl() * 3).await;
    let ended = Instant::now();
    let records = load.stop().await;
    stage
        .outcome("F16", &records, slowed, ended)
        .count("changes of the registry", follower.seen.changes(slowed), 0)
        .registrations(follower.seen.returns(slowed), 0)
}

/// F18: the connection over which a client follows the registry is dead, and nothing says so.
pub(super) async fn silent(setup: Setup) -> Outcome {
    let world = World::start(setup.backend, Size::One).await;
    let shim = Shim::start(world.address()).await.expect("a shim");
    let through = world.through(shim.address(), None);
    let stage = Stage::following(Laboratory::with(&setup, world), through).await;
    let load = stage.load(&setup).await;
    let stalled = Instant::now();
    shim.stall();
    let _fourth = stage.laboratory.node("four");
    stage.laboratory.registered(&FOUR).await;
    let registered = Instant::now();
    stage.told(&FOUR).await;
    let told = registered.elapsed();
    let ended = Instant::now();
    let records = load.stop().await;
    let allowed = match setup.backend {
        Backend::Etcd => Duration::from_secs(25),
        Backend::Consul | Backend::Mdns => Duration::from_secs(60),
    };
    stage
        .outcome("F18", &records, stalled, ended)
        .seconds("a new node is known", told, allowed)
}

/// F19: what happened while a client was cut off is compacted before it comes back.
pub(super) async fn compacted(setup: Setup) -> Outcome {
    let world = World::start(setup.backend, Size::One).await;
    let shim = Shim::start(world.address()).await.expect("a shim");
    let through = world.through(shim.address(), None);
    let mut stage = Stage::following(Laboratory::with(&setup, world), through).await;
    let load = stage.load(&setup).await;
    shim.refuse();
    shim.cut();
    stage.nodes[2].signal(nix::sys::signal::Signal::SIGTERM);
    stage.nodes[2].ended(PATIENCE).await;
    let _fourth = stage.laboratory.node("four");
    let left = [NODES[0], NODES[1], "four"];
    stage.laboratory.registered(&left).await;
    stage
        .laboratory
        .world
        .etcd()
        .compact()
        .await
        .expect("etcd compacts");
    shim.heal();
    let healed = Instant::now();
    stage.told(&left).await;
    let told = healed.elapsed();
    pass(setup.pace.calm()).await;
    let records = load.stop().await;
    // The client comes back when its wait ends, of 5 s at most, and then knows within 2 s.
    Outcome::new("F19")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .seconds("all is known again", told, Duration::from_secs(5 + 2))
        .holds("no node is known that is gone", stage.knows(&left))
}

/// F20: the registry has lost all and counts from the beginning; who follows it waits for numbers far ahead.
pub(super) async fn counts_anew(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    laboratory.world.count_on(500).await;
    let stage = Stage::on(laboratory).await;
    let load = stage.load(&setup).await;
    let wiped = Instant::now();
    stage.laboratory.world.start_wiped().await;
    converges(&setup, stage, load, wiped).await
}

/// F20: the registry is set up from a copy of an earlier day.
pub(super) async fn restored(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::OneThatRemembers).await;
    let copy = laboratory.world.copy().await;
    let stage = Stage::on(laboratory).await;
    stage.laboratory.world.count_on(500).await;
    let load = stage.load(&setup).await;
    let restored = Instant::now();
    stage.laboratory.world.restore(&copy).await;
    converges(&setup, stage, load, restored).await
}

/// After a registry went back: all nodes are there again, and a change of now is known in time.
async fn converges(setup: &Setup, stage: Stage, load: super::super::Load, since: Instant) -> Outcome {
    let back = Instant::now();
    let _fourth = stage.laboratory.node("four");
    stage.laboratory.registered(&FOUR).await;
    stage.told(&FOUR).await;
    let told = back.elapsed();
    let ended = Instant::now();
    let records = load.stop().await;
    let allowed = match setup.backend {
        Backend::Etcd => Duration::from_secs(15),
        Backend::Consul | Backend::Mdns => Duration::from_secs(60),
    };
    stage
        .outcome("F20", &records, since, ended)
        .seconds("all nodes and a new one are known", told, allowed)
}

impl Stage {
    /// Waits until the client was told that these are the nodes.
    async fn told(&self, ids: &[&str]) {
        wait(&format!("the client knows {ids:?}"), PATIENCE, async || {
            self.knows(ids)
        })
        .await;
    }

    fn knows(&self, ids: &[&str]) -> bool {
        let last = self.caller.seen.last();
        last.is_some_and(|last| last.ids.len() == ids.len() && ids.iter().all(|id| last.ids.contains(*id)))
    }
}
