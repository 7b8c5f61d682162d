//! The scenarios: what goes wrong in each, drawn from a seed, and which calls may fail by it.

use std::time::Duration;

use fastrand::Rng;

use crate::{
    directory::{DELAY_MAX, Mode},
    fault::{Fault, Link},
    plan::{MayFail, Plan},
};

/// After which time without an answer a call is sent to a second node, where nodes fall silent.
const HEDGE_DELAY: Duration = Duration::from_millis(150);

/// What goes wrong, and what must hold all the same.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name, as the command takes it.
    pub name: &'static str,
    /// What goes wrong.
    pub about: &'static str,
    pub(crate) plan: fn(&mut Rng) -> Plan,
}

/// All of them.
pub const SCENARIOS: [Scenario; 9] = [
    Scenario {
        name: "partition",
        about: "one server after the other is cut off from some clients, and comes back",
        plan: |random| silence(random, &[Link::Cut]),
    },
    Scenario {
        name: "one-way",
        about: "what one server, or its clients, send is lost in one direction, for a while",
        plan: |random| silence(random, &[Link::ServerUnheard, Link::ClientUnheard]),
    },
    Scenario {
        name: "hold",
        about: "what one server and its clients send arrives when the server comes back to life",
        plan: |random| silence(random, &[Link::Held]),
    },
    Scenario {
        name: "weather",
        about: "messages take up to 200 ms, on each link as it pleases, so that connections overtake each other",
        plan: weather,
    },
    Scenario {
        name: "slow",
        about: "the handlers of one server after the other take most of what the callers will wait",
        plan: slow,
    },
    Scenario {
        name: "crash",
        about: "one server after the other dies without a word, and is started anew",
        plan: crash,
    },
    Scenario {
        name: "rolling",
        about: "one server after the other is told to stop, and is started anew",
        plan: rolling,
    },
    Scenario {
        name: "registry",
        about: "the registry tells late, what was long ago, nothing, or that it is away",
        plan: registry,
    },
    Scenario {
        name: "storm",
        about: "all of that at once, to any server",
        plan: storm,
    },
];

/// A server that is not heard looks like one that works on an answer, so only a second node saves a call.
fn silence(random: &mut Rng, links: &[Link]) -> Plan {
    let mut plan = Plan::new(MayFail::NotIdempotent);
    plan.hedge_delay = Some(HEDGE_DELAY);
    for _ in 0..random.usize(1..=3) {
        // Simulated segments that were lost are not sent again: a server is silent until a ping has found that out.
        plan.pass(random, 4_000, 7_000);
        let (server, clients) = (plan.any_server(random), plan.some_clients(random));
        plan.links(&clients, server, links[random.usize(..links.len())]);
        plan.pass(random, 50, 6_000);
        plan.links(&clients, server, Link::Well);
    }
    plan
}

fn weather(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::None);
    for _ in 0..random.usize(5..=30) {
        plan.pass(random, 10, 600);
        let (client, server) = (random.usize(..plan.clients), plan.any_server(random));
        let link = Link::Slow(random.u64(1..=200));
        plan.strike(Fault::Link { client, server, link });
    }
    for server in 0..plan.servers {
        let clients: Vec<_> = (0..plan.clients).collect();
        plan.links(&clients, server, Link::Well);
    }
    plan
}

fn slow(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::None);
    for _ in 0..random.usize(1..=3) {
        plan.pass(random, 200, 3_000);
        let (server, millis) = (plan.any_server(random), random.u64(100..=1_800));
        plan.strike(Fault::Slow { server, millis });
        plan.pass(random, 200, 4_000);
        plan.strike(Fault::Slow { server, millis: 0 });
    }
    plan
}

fn crash(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::NotIdempotent);
    for _ in 0..random.usize(1..=4) {
        let server = plan.any_server(random);
        plan.pass(random, 200, 2_000);
        plan.strike(Fault::Crash { server });
        plan.pass(random, 10, 8_000);
        plan.strike(Fault::Start { server });
        // Until it is registered and connected to, the next one to die would leave one alone.
        plan.pass(random, 1_000, 4_000);
    }
    plan
}

fn rolling(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::None);
    plan.drain_delay = Duration::from_secs(2);
    plan.left_within = Some(DELAY_MAX + Duration::from_millis(400));
    for _ in 0..random.usize(1..=2) {
        for server in 0..plan.servers {
            plan.strike(Fault::Restart { server });
            // The drain, a start, and its discovery.
            plan.pass(random, 3_500, 6_000);
        }
    }
    plan
}

fn registry(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::None);
    let modes = [
        Mode::Late,
        Mode::Outdated,
        Mode::Outdated,
        Mode::Empty,
        Mode::Away,
        Mode::Sound,
    ];
    for _ in 0..random.usize(3..=12) {
        plan.pass(random, 20, 2_500);
        plan.strike(Fault::Registry(modes[random.usize(..modes.len())]));
    }
    plan.pass(random, 20, 2_500);
    plan.strike(Fault::Registry(Mode::Sound));
    plan
}

fn storm(random: &mut Rng) -> Plan {
    let mut plan = Plan::new(MayFail::Any);
    plan.hedge_delay = random.bool().then_some(HEDGE_DELAY);
    let mut down = vec![false; plan.servers];
    for _ in 0..random.usize(5..=30) {
        plan.pass(random, 1, 1_200);
        let server = plan.any_server(random);
        let fault = match random.usize(..6) {
            0 if down[server] => Fault::Start { server },
            0 => Fault::Crash { server },
            1 if !down[server] => Fault::Restart { server },
            2 => Fault::Slow {
                server,
                millis: random.u64(0..=3_000),
            },
            3 => Fault::Registry(any_mode(random)),
            _ => Fault::Link {
                client: random.usize(..plan.clients),
                server,
                link: any_link(random),
            },
        };
        match fault {
            Fault::Start { .. } => down[server] = false,
            Fault::Crash { .. } => down[server] = true,
            _ => {}
        }
        plan.strike(fault);
    }
    plan.pass(random, 1, 1_200);
    all_well(&mut plan, &down);
    plan
}

fn any_mode(random: &mut Rng) -> Mode {
    let modes = [Mode::Sound, Mode::Late, Mode::Outdated, Mode::Empty, Mode::Away];
    modes[random.usize(..modes.len())]
}

fn any_link(random: &mut Rng) -> Link {
    match random.usize(..6) {
        0 => Link::Cut,
        1 => Link::ServerUnheard,
        2 => Link::ClientUnheard,
        3 => Link::Held,
        4 => Link::Slow(random.u64(1..=500)),
        _ => Link::Well,
    }
}

fn all_well(plan: &mut Plan, down: &[bool]) {
    plan.strike(Fault::Registry(Mode::Sound));
    for (server, down) in down.iter().enumerate() {
        if *down {
            plan.strike(Fault::Start { server });
        }
        plan.strike(Fault::Slow { server, millis: 0 });
        let clients: Vec<_> = (0..plan.clients).collect();
        plan.links(&clients, server, Link::Well);
    }
}
