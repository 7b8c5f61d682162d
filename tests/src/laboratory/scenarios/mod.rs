//! The scenarios of FAULTS.md, one function each; a test and `cargo xtask chaos` run the same.

mod host;
mod network;
mod outage;
mod overload;
mod registration;
mod restarts;
mod rights;
mod servers;
mod watching;

use std::{fmt, future::Future, pin::Pin};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{Backend, Outcome, Setup, Size};

/// The nodes of most scenarios.
const NODES: [&str; 3] = ["one", "two", "three"];

type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// A fault, and how it is brought about.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its number in FAULTS.md.
    pub fault: &'static str,
    /// Its own name, which its test has.
    pub name: &'static str,
    /// What happens.
    pub what: &'static str,
    /// The registries that it can happen with.
    pub backends: &'static [Backend],
    run: fn(Setup) -> Running,
}

impl Scenario {
    /// Runs it.
    #[must_use]
    pub fn run(&self, setup: Setup) -> Running {
        (self.run)(setup)
    }
}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scenario({})", self.name)
    }
}

/// Every registry.
const ANY: &[Backend] = &[Backend::Mdns, Backend::Consul, Backend::Etcd];
/// Registries with servers.
const SERVED: &[Backend] = &[Backend::Consul, Backend::Etcd];

/// etcd alone.
const ETCD: &[Backend] = &[Backend::Etcd];
/// One is enough: what fails is none of a registry's business.
const MDNS: &[Backend] = &[Backend::Mdns];
/// Consul alone.
const CONSUL: &[Backend] = &[Backend::Consul];

/// All of them, in the order of FAULTS.md.
pub const ALL: &[Scenario] = &[
    Scenario {
        fault: "F01",
        name: "f01_killed",
        what: "one of three nodes is killed",
        backends: ANY,
        run: |setup| Box::pin(servers::killed(setup)),
    },
    Scenario {
        fault: "F02",
        name: "f02_rolling_restart",
        what: "all nodes are restarted, one after another",
        backends: ANY,
        run: |setup| Box::pin(restarts::rolling(setup)),
    },
    Scenario {
        fault: "F02",
        name: "f02_under_long_calls",
        what: "all nodes are restarted, one after another, under calls that take 2 s",
        backends: CONSUL,
        run: |setup| Box::pin(restarts::rolling_under_long_calls(setup)),
    },
    Scenario {
        fault: "F03",
        name: "f03_stop_without_registry",
        what: "a node is asked to stop while the registry is away",
        backends: SERVED,
        run: |setup| Box::pin(restarts::without_registry(setup)),
    },
    Scenario {
        fault: "F04",
        name: "f04_stop_twice",
        what: "a node is asked to stop twice",
        backends: MDNS,
        run: |setup| Box::pin(restarts::twice(setup)),
    },
    Scenario {
        fault: "F05",
        name: "f05_stopped",
        what: "one of three nodes is stopped, and goes on",
        backends: MDNS,
        run: |setup| Box::pin(servers::stopped(setup)),
    },
    Scenario {
        fault: "F05",
        name: "f05_stalled",
        what: "the only node is stopped for longer than its callers wait",
        backends: MDNS,
        run: |setup| Box::pin(servers::stalled(setup)),
    },
    Scenario {
        fault: "F06",
        name: "f06_slow",
        what: "one of three nodes is ten times as slow",
        backends: MDNS,
        run: |setup| Box::pin(servers::slow(setup)),
    },
    Scenario {
        fault: "F07",
        name: "f07_failing",
        what: "one of three nodes fails everything at once",
        backends: MDNS,
        run: |setup| Box::pin(servers::failing(setup)),
    },
    Scenario {
        fault: "F08",
        name: "f08_all_ill",
        what: "all nodes say that they are ill, and answer all the same",
        backends: ANY,
        run: |setup| Box::pin(servers::all_ill(setup)),
    },
    Scenario {
        fault: "F09",
        name: "f09_black_hole",
        what: "the way to one of three nodes is a black hole",
        backends: CONSUL,
        run: |setup| Box::pin(network::black_hole(setup)),
    },
    Scenario {
        fault: "F11",
        name: "f11_registry_down_at_start",
        what: "the registry is down when a service starts",
        backends: SERVED,
        run: |setup| Box::pin(outage::down_at_start(setup)),
    },
    Scenario {
        fault: "F12",
        name: "f12_memory_lost",
        what: "the registry restarts and has forgotten everything",
        backends: SERVED,
        run: |setup| Box::pin(outage::memory_lost(setup, Size::One)),
    },
    Scenario {
        fault: "F12",
        name: "f12_memory_of_three_lost",
        what: "a registry of three servers restarts and has forgotten everything",
        backends: SERVED,
        run: |setup| Box::pin(outage::memory_lost(setup, Size::Three)),
    },
    Scenario {
        fault: "F13",
        name: "f13_registry_away",
        what: "the registry is away for long",
        backends: SERVED,
        run: |setup| Box::pin(outage::away(setup, Size::OneThatRemembers)),
    },
    Scenario {
        fault: "F14",
        name: "f14_leader_killed",
        what: "the leader of the registry is killed",
        backends: SERVED,
        run: |setup| Box::pin(outage::leader_killed(setup)),
    },
    Scenario {
        fault: "F15",
        name: "f15_quorum_lost",
        what: "two of three servers of the registry are killed and come back",
        backends: SERVED,
        run: |setup| Box::pin(outage::quorum_lost(setup)),
    },
    Scenario {
        fault: "F16",
        name: "f16_registry_slow",
        what: "every answer of the registry is late",
        backends: SERVED,
        run: |setup| Box::pin(watching::slow(setup)),
    },
    Scenario {
        fault: "F17",
        name: "f17_registry_hangs",
        what: "the registry hangs for twice as long as a registration holds",
        backends: SERVED,
        run: |setup| Box::pin(outage::hangs(setup)),
    },
    Scenario {
        fault: "F18",
        name: "f18_watch_silent",
        what: "the connection over which a client follows the registry is dead",
        backends: SERVED,
        run: |setup| Box::pin(watching::silent(setup)),
    },
    Scenario {
        fault: "F19",
        name: "f19_compacted",
        what: "what a client missed is compacted before it comes back",
        backends: ETCD,
        run: |setup| Box::pin(watching::compacted(setup)),
    },
    Scenario {
        fault: "F20",
        name: "f20_counts_anew",
        what: "the registry has lost all and counts from the beginning",
        backends: SERVED,
        run: |setup| Box::pin(watching::counts_anew(setup)),
    },
    Scenario {
        fault: "F20",
        name: "f20_restored",
        what: "the registry is set up from a copy of an earlier day",
        backends: SERVED,
        run: |setup| Box::pin(watching::restored(setup)),
    },
    Scenario {
        fault: "F21",
        name: "f21_stood_still",
        what: "a node stands still for twice as long as its registration holds",
        backends: SERVED,
        run: |setup| Box::pin(registration::stood_still(setup)),
    },
    Scenario {
        fault: "F22",
        name: "f22_crowd",
        what: "hundreds of nodes find their registry back at once",
        backends: SERVED,
        run: |setup| Box::pin(registration::crowd(setup)),
    },
    Scenario {
        fault: "F25",
        name: "f25_token_replaced",
        what: "the token is replaced",
        backends: CONSUL,
        run: |setup| Box::pin(rights::token_replaced(setup)),
    },
    Scenario {
        fault: "F26",
        name: "f26_right_lost",
        what: "a client loses the right to read",
        backends: CONSUL,
        run: |setup| Box::pin(rights::right_lost(setup)),
    },
    Scenario {
        fault: "F27",
        name: "f27_connections_taken",
        what: "all connections that Consul allows are taken",
        backends: CONSUL,
        run: |setup| Box::pin(rights::connections_taken(setup)),
    },
    Scenario {
        fault: "F32",
        name: "f32_id_taken",
        what: "a second process takes the id of a node that lives",
        backends: SERVED,
        run: |setup| Box::pin(registration::id_taken(setup)),
    },
    Scenario {
        fault: "F32",
        name: "f32_id_of_its_own",
        what: "a node with a fixed id is killed and comes back",
        backends: SERVED,
        run: |setup| Box::pin(registration::id_of_its_own(setup)),
    },
    Scenario {
        fault: "F33",
        name: "f33_another_service",
        what: "another service listens where a node of ours did",
        backends: MDNS,
        run: |setup| Box::pin(network::another_service(setup)),
    },
    Scenario {
        fault: "F36",
        name: "f36_wall_clock",
        what: "the wall clock jumps an hour ahead, and two hours back",
        backends: &[Backend::Mdns, Backend::Consul],
        run: |setup| Box::pin(host::wall_clock_jumps(setup)),
    },
    Scenario {
        fault: "F37",
        name: "f37_no_files",
        what: "a node has no file left to open",
        backends: MDNS,
        run: |setup| Box::pin(network::no_files(setup)),
    },
    Scenario {
        fault: "F38",
        name: "f38_client_without_files",
        what: "a client has no file left to open",
        backends: CONSUL,
        run: |setup| Box::pin(host::client_without_files(setup)),
    },
    Scenario {
        fault: "F39",
        name: "f39_starved",
        what: "a node gets a twentieth of a processor",
        backends: SERVED,
        run: |setup| Box::pin(host::starved(setup)),
    },
    Scenario {
        fault: "F40",
        name: "f40_blocked",
        what: "a handler blocks every thread that calls run on",
        backends: SERVED,
        run: |setup| Box::pin(servers::blocked(setup)),
    },
    Scenario {
        fault: "F41",
        name: "f41_memory",
        what: "ten times the load that a node is made for, in large messages",
        backends: MDNS,
        run: |setup| Box::pin(overload::memory(setup)),
    },
    Scenario {
        fault: "F42",
        name: "f42_overload",
        what: "ten times the calls that a node can do",
        backends: CONSUL,
        run: |setup| Box::pin(overload::overload(setup)),
    },
    Scenario {
        fault: "F43",
        name: "f43_slow_handlers",
        what: "handlers take longer than their callers wait",
        backends: MDNS,
        run: |setup| Box::pin(overload::slow_handlers(setup)),
    },
    Scenario {
        fault: "F44",
        name: "f44_panics",
        what: "a handler panics",
        backends: MDNS,
        run: |setup| Box::pin(servers::panics(setup)),
    },
    Scenario {
        fault: "F45",
        name: "f45_disk_full",
        what: "logs go to a full disk, or to nobody, and no file can be written",
        backends: MDNS,
        run: |setup| Box::pin(host::disk_full(setup)),
    },
];

/// The status that `address` answers a GET of `path` with; `None` when nobody answers.
async fn http_status(address: &str, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
