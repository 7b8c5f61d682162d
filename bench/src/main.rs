//! The repository's benchmarks: `cargo xtask bench` builds and runs this program.

mod calls;
mod gateway;
mod memory;
mod picks;
mod registry;
mod usage;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

/// What tonic generates for the benchmarked service.
mod bench {
    micro::include_proto!("bench");
}

/// The repository's benchmarks, each against a peer in the same run.
#[derive(Debug, Parser)]
#[command(name = "micro-bench")]
struct Arguments {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, Subcommand)]
enum Benchmark {
    /// What a call costs, in one run: `picks`, `memory`, `instructions` and `calls`
    All(All),
    /// Calls by our client and server against those by a bare tonic channel and server
    Calls(calls::Settings),
    /// Calls over HTTP and JSON through the gateway against the same by the gRPC client
    Gateway(gateway::Settings),
    /// Instructions that a unary call costs its client, by callgrind: ours and a bare channel's
    Instructions,
    /// Memory of a known node and of an open connection, and that of a bare channel
    Memory,
    /// Picks among many nodes, by each policy and in a storm of changes
    Picks(picks::Settings),
    /// Discovery of 10,000 nodes and 1,000 services on real Consul and etcd, against plain clients of theirs
    Registry(registry::Settings),
    /// One contestant of `registry`, until its standard input ends
    #[command(hide = true)]
    Follow(registry::contestant::Settings),
    /// A server of one of the contestants, until its standard input ends
    #[command(hide = true)]
    Serve(calls::server::Settings),
    /// A gateway to one server, until its standard input ends
    #[command(hide = true)]
    ServeGateway(gateway::Serve),
    /// A client whose memory is looked at
    #[command(hide = true)]
    Hold(memory::Hold),
    /// One round of one contestant's client
    #[command(hide = true)]
    Client(calls::client::Settings),
    /// Calls whose instructions are counted
    #[command(hide = true)]
    Counted(calls::client::Counted),
}

#[derive(Debug, Args)]
struct All {
    #[command(flatten)]
    picks: picks::Settings,
    #[command(flatten)]
    calls: calls::Settings,
}

fn all(settings: &All) -> Result<()> {
    picks::run(&settings.picks)?;
    memory::run()?;
    calls::instructions::run()?;
    calls::run(&settings.calls)
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().benchmark {
        Benchmark::All(settings) => all(&settings),
        Benchmark::Calls(settings) => calls::run(&settings),
        Benchmark::Gateway(settings) => gateway::run(&settings),
        Benchmark::ServeGateway(settings) => gateway::serve(&settings),
        Benchmark::Memory => memory::run(),
        Benchmark::Hold(hold) => memory::run_hold(&hold),
        Benchmark::Picks(settings) => picks::run(&settings),
        Benchmark::Registry(settings) => registry::run(&settings),
        Benchmark::Follow(settings) => registry::contestant::run(settings),
        Benchmark::Serve(settings) => calls::server::run(&settings),
        Benchmark::Instructions => calls::instructions::run(),
        Benchmark::Counted(settings) => calls::client::run_counted(&settings),
        Benchmark::Client(settings) => calls::client::run(&settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
