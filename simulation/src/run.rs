//! One run of a scenario from a seed: the hosts, the faults when they are due, and the verdict.

use std::{cell::Cell, collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use fastrand::Rng;
use turmoil::{Builder, Sim};

use crate::{
    Scenario,
    fault::{Fault, LATENCY, client_name, server_name},
    hosts::{self, Load},
    plan::Plan,
    verdict,
    world::{Records, World},
};

/// How far the clocks of all hosts move on at once.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// How much longer than its load a simulation may go on.
const OVERTIME: Duration = Duration::from_secs(30);
/// How often the registry looks whose time has passed.
const EXPIRY: Duration = Duration::from_millis(100);

/// Of how many lists the number of those is a divisor in which tokio keeps the tasks of a runtime with one thread; it has
/// four, and more would do no harm.
const TASK_LISTS: u64 = 64;

/// What became of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was to hold and did not.
    pub violations: Vec<String>,
    /// What happened, in order, one line each.
    pub trace: Vec<String>,
    /// Equal for two runs in which the same happened at the same time.
    pub fingerprint: u64,
    /// How many calls were made.
    pub calls: usize,
    /// How many of them failed.
    pub failed: usize,
}

/// Runs `scenario` once. The same seed does the same again, if tokio's own choices are seeded, too, which needs
/// `--cfg tokio_unstable`.
#[must_use]
pub fn run(scenario: &Scenario, seed: u64) -> Report {
    begin_task_ids();
    // What client and service draw comes from here.
    fastrand::seed(seed);
    let plan = (scenario.plan)(&mut Rng::with_seed(seed));
    let world = Arc::new(World::new(plan.servers));
    let mut sim = Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(plan.load_until() + OVERTIME)
        .epoch(std::time::SystemTime::UNIX_EPOCH)
        .min_message_latency(LATENCY.0)
        .max_message_latency(LATENCY.1)
        .tcp_capacity(1024)
        .enable_random_order()
        .build();
    populate(&mut sim, &world, &plan);
    if let Err(error) = drive(&mut sim, &world, &plan) {
        world.complain(format!("the simulation ended early: {error}"));
    }
    drop(sim);
    let records = world.records().clone();
    report(&plan, &world, records)
}

/// Moves on to a task id from which all runs are the same.
///
/// Ids are counted by process, and tokio keeps the tasks of a runtime in as many lists, by their ids: in which order they are
/// dropped with it, when a host crashes, depends on where the ids begin.
fn begin_task_ids() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime without drivers asks nothing of the system");
    loop {
        let id = runtime.spawn(async {}).id().to_string();
        let number: u64 = id.parse().expect("task ids are numbers");
        if number.is_multiple_of(TASK_LISTS) {
            return;
        }
    }
}

fn populate(sim: &mut Sim<'_>, world: &Arc<World>, plan: &Plan) {
    for server in 0..plan.servers {
        let (world, drain_delay, starts) = (Arc::clone(world), plan.drain_delay, Rc::new(Cell::new(0)));
        sim.host(server_name(server), move || {
            starts.set(starts.get() + 1);
            hosts::serve(Arc::clone(&world), server, starts.get(), drain_delay)
        });
    }
    for client in 0..plan.clients {
        let load = Load {
            timeout: plan.timeout,
            hedge_delay: plan.hedge_delay,
            until: plan.load_until(),
        };
        sim.client(
            client_name(client),
            hosts::call(Arc::clone(world), client, plan.servers, load),
        );
    }
}

/// Lets time pass, faults strike and what has stopped start anew, until the clients have done.
fn drive(sim: &mut Sim<'_>, world: &World, plan: &Plan) -> turmoil::Result {
    let mut faults = plan.faults().peekable();
    let mut expiry = Duration::ZERO;
    let mut crashed = BTreeSet::new();
    while !sim.step()? {
        let now = sim.elapsed();
        if now >= expiry {
            world.directory.expire(now);
            expiry = now + EXPIRY;
        }
        for server in 0..plan.servers {
            // It has stopped as it was told to.
            if !crashed.contains(&server) && !sim.is_host_running(server_name(server)) {
                sim.bounce(server_name(server));
            }
        }
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= now) {
            match fault {
                Fault::Crash { server } => {
                    crashed.insert(server);
                }
                Fault::Start { server } => {
                    crashed.remove(&server);
                }
                _ => {}
            }
            fault.strike(sim, world);
        }
    }
    Ok(())
}

fn report(plan: &Plan, world: &World, records: Records) -> Report {
    let failed = records.calls.iter().filter(|call| call.failed()).count();
    Report {
        violations: verdict::violations(plan, world, &records),
        fingerprint: records.fingerprint(),
        calls: records.calls.len(),
        failed,
        trace: records.trace,
    }
}
