//! Calls by our client and server against those by a bare tonic channel and server, in turn, as ratios.

pub(crate) mod client;
pub(crate) mod instructions;
pub(crate) mod ratio;
pub(crate) mod server;

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
};

use clap::{Args, ValueEnum as _, value_parser};

use self::{
    client::{Figures, Kind, Workload},
    ratio::Ratio,
};
use crate::Result;

/// How the calls are measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// How often each contestant runs
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// How long a round counts
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Only these workloads
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<Workload>,
}

/// A client with its servers.
#[derive(Clone, Copy, Debug)]
struct Contestant {
    name: &'static str,
    kind: Kind,
    server: Server,
    nodes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Tonic,
    Micro,
}

/// In this order, as the machine is not as fast at all times: those that are held against each other run one after the
/// other.
const CONTESTANTS: [Contestant; 6] = [
    Contestant::new("micro's client, one node", Kind::Recording, Server::Tonic, 1),
    Contestant::new("raw, one server", Kind::Raw, Server::Tonic, 1),
    Contestant::new("both ends micro's, one node", Kind::Recording, Server::Micro, 1),
    Contestant::new("micro's client, three nodes", Kind::Recording, Server::Tonic, 3),
    Contestant::new("raw, three servers in turn", Kind::Raw, Server::Tonic, 3),
    Contestant::new("tonic's balance_list, three", Kind::Balance, Server::Tonic, 3),
];

/// Who is held against whom.
const COMPARISONS: [(usize, usize); 4] = [(0, 1), (3, 4), (5, 4), (2, 1)];

impl Contestant {
    const fn new(name: &'static str, kind: Kind, server: Server, nodes: usize) -> Self {
        Self {
            name,
            kind,
            server,
            nodes,
        }
    }
}

/// A server's process; its end is the end of our pipe to it.
pub(crate) struct Running {
    /// `None` once it was waited for.
    process: Option<Child>,
    pub(crate) address: SocketAddr,
}

impl Running {
    pub(crate) fn start(kind: &str) -> Result<Self> {
        Self::start_as(Command::new(env::current_exe()?).args(["serve", kind]))
    }

    pub(crate) fn start_as(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let output = process.stdout.take().ok_or("the server has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.map_err(|error| format!("the server said {line:?}: {error}"))?;
        Ok(Self {
            process: Some(process),
            address,
        })
    }

    /// Waits until it has ended on its own, as it does when its input has, and gives what it has said since.
    fn end(mut self) -> Result<Output> {
        let process = self.process.take().ok_or("the server has ended")?;
        Ok(process.wait_with_output()?)
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // Fails when it has ended before.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Runs all rounds, and prints each workload's ratios as it is done.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let tonic = [(); 3].map(|()| Running::start("tonic"));
    let tonic = tonic.into_iter().collect::<Result<Vec<_>>>()?;
    let micro = vec![Running::start("micro")?];
    let workloads = if settings.workloads.is_empty() {
        Workload::value_variants()
    } else {
        &settings.workloads
    };
    println!(
        "{} rounds of {} s in turn; on in micro: discovery (static registry), picks (least_loaded), retries and their \
         budget, deadlines, limits, metrics, tracing without a subscriber; the bare ones have our HTTP/2 settings",
        settings.rounds, settings.seconds
    );
    for workload in workloads {
        let mut figures = CONTESTANTS.map(|_| Vec::new());
        for _ in 0..settings.rounds {
            for (contestant, figures) in CONTESTANTS.iter().zip(&mut figures) {
                let servers = match contestant.server {
                    Server::Tonic => &tonic,
                    Server::Micro => &micro,
                };
                figures.push(round(
                    contestant,
                    *workload,
                    &servers[..contestant.nodes],
                    settings,
                )?);
            }
        }
        report(*workload, &figures);
    }
    Ok(())
}

fn round(
    contestant: &Contestant,
    workload: Workload,
    servers: &[Running],
    settings: &Settings,
) -> Result<Figures> {
    let list = |each: &dyn Fn(&Running) -> String| servers.iter().map(each).collect::<Vec<_>>().join(",");
    let output = Command::new(env::current_exe()?)
        .args([
            "client",
            "--kind",
            &name(&contestant.kind),
            "--workload",
            &name(&workload),
        ])
        .args(["--servers", &list(&|server| server.address.to_string())])
        .args(["--processes", &list(&|server| server.id().to_string())])
        .args(["--seconds", &settings.seconds.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{}: the client ended with {}", contestant.name, output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The name that the command line has for it.
fn name(value: &impl clap::ValueEnum) -> String {
    value
        .to_possible_value()
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}

const MIB: f64 = 1024.0 * 1024.0;

/// One column of the report.
struct Column {
    heading: &'static str,
    figure: fn(&Figures) -> f64,
}

const COLUMNS: [Column; 8] = [
    Column {
        heading: "calls/s",
        figure: |figures| figures.calls_per_second,
    },
    Column {
        heading: "p50",
        figure: |figures| figures.p50_us,
    },
    Column {
        heading: "p99",
        figure: |figures| figures.p99_us,
    },
    Column {
        heading: "client CPU",
        figure: |figures| figures.client_cpu_us,
    },
    Column {
        heading: "server CPU",
        figure: |figures| figures.server_cpu_us,
    },
    Column {
        heading: "both CPU",
        figure: |figures| figures.client_cpu_us + figures.server_cpu_us,
    },
    Column {
        heading: "client memory",
        figure: |figures| figures.client_memory_bytes,
    },
    Column {
        heading: "server memory",
        figure: |figures| figures.server_memory_bytes,
    },
];

fn report(workload: Workload, figures: &[Vec<Figures>]) {
    println!("\n{}: medians{}", name(&workload), workload.unit());
    println!(
        "{:28} {:>10} {:>9} {:>9} {:>11} {:>11} {:>10} {:>10}",
        "", "calls/s", "p50 us", "p99 us", "client us", "server us", "client MiB", "server MiB"
    );
    for (contestant, rounds) in CONTESTANTS.iter().zip(figures) {
        let median = |figure: fn(&Figures) -> f64| ratio::median(rounds.iter().map(figure).collect());
        println!(
            "{:28} {:>10.0} {:>9.1} {:>9.1} {:>11.2} {:>11.2} {:>10.1} {:>10.1}",
            contestant.name,
            median(|figures| figures.calls_per_second),
            median(|figures| figures.p50_us),
            median(|figures| figures.p99_us),
            median(|figures| figures.client_cpu_us),
            median(|figures| figures.server_cpu_us),
            median(|figures| figures.client_memory_bytes) / MIB,
            median(|figures| figures.server_memory_bytes) / MIB,
        );
    }
    println!(
        "{}: ratios, round by round: median [where it lies, 95 in 100] (quartiles)",
        name(&workload)
    );
    for (one, other) in COMPARISONS {
        println!("{} to {}", CONTESTANTS[one].name, CONTESTANTS[other].name);
        for column in &COLUMNS {
            let rounds = figures[one].iter().zip(&figures[other]);
            let ratio = Ratio::of(
                rounds
                    .map(|(one, other)| (column.figure)(one) / (column.figure)(other))
                    .collect(),
            );
            println!("    {:13} {ratio}", column.heading);
        }
    }
}
