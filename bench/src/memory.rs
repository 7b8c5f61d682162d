//! What a client remembers: the memory of a node that is known, and of a connection that is open, beside a bare channel's.

use std::{
    env,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use micro::Telemetry;

use crate::{
    Result,
    calls::Running,
    picks::feed::{Feed, SERVICE},
    usage,
};

const KNOWN: usize = 10_000;
const CONNECTED: usize = 1_000;
/// How long connecting may take.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(50);

/// What one process holds while its memory is looked at.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[arg(long)]
    kind: Kind,
    #[arg(long)]
    server: SocketAddr,
    #[arg(long)]
    known: usize,
    #[arg(long)]
    connected: usize,
}

/// Whose client.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// `micro::Client`.
    Micro,
    /// A bare channel for each connection.
    Raw,
}

/// Measures each in a process of its own, against one that has a single node with a single connection.
pub(crate) fn run() -> Result<()> {
    let server = Running::start("tonic")?;
    let one = hold(&server, "micro", 1, 1)?;
    let known = hold(&server, "micro", KNOWN, 1)?;
    println!("memory in bytes, as the system accounts for it (VmRSS), allocator's leftovers included");
    println!(
        "a known node, its record in the registry's snapshot included   {:>8}",
        each(known, one, KNOWN)
    );
    let some = hold(&server, "micro", CONNECTED, 1)?;
    let connected = hold(&server, "micro", CONNECTED, CONNECTED)?;
    println!(
        "an open connection to a known node                             {:>8}",
        each(connected, some, CONNECTED)
    );
    let one = hold(&server, "raw", 1, 1)?;
    let connected = hold(&server, "raw", CONNECTED, CONNECTED)?;
    println!(
        "a bare channel with its connection                             {:>8}",
        each(connected, one, CONNECTED)
    );
    Ok(())
}

/// What one of `count` takes, of which the other process had the first.
fn each(many: u64, one: u64, count: usize) -> u64 {
    many.saturating_sub(one) / (count as u64 - 1)
}

/// The memory of a process that knows and has so much.
fn hold(server: &Running, kind: &str, known: usize, connected: usize) -> Result<u64> {
    let output = Command::new(env::current_exe()?)
        .args(["hold", "--kind", kind])
        .args(["--server", &server.address.to_string()])
        .args(["--known", &known.to_string()])
        .args(["--connected", &connected.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the client that holds {connected} of {known} ended with {}",
            output.status
        )
        .into());
    }
    Ok(str::from_utf8(&output.stdout)?.trim().parse()?)
}

/// Connects, and prints how much memory it has then.
pub(crate) fn run_hold(hold: &Hold) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match hold.kind {
            Kind::Micro => hold_ours(hold).await,
            Kind::Raw => hold_raw(hold).await,
        }
    })
}

async fn hold_ours(hold: &Hold) -> Result<()> {
    let feed = Feed::new(hold.known, hold.server.to_string().parse()?);
    let telemetry = Telemetry::new();
    let client = micro::Client::builder(Arc::new(feed))
        .subset(hold.connected)
        .telemetry(&telemetry)
        .build()?;
    let channel = client.channel(SERVICE);
    channel.__place().await?;
    let wanted = format!(
        "micro_client_open_connections{{micro_service=\"{SERVICE}\"}} {}",
        hold.connected
    );
    let begun = Instant::now();
    while !telemetry.render().lines().any(|line| line == wanted) {
        if begun.elapsed() > PATIENCE {
            return Err(format!(
                "there were not {} connections within {PATIENCE:?}",
                hold.connected
            )
            .into());
        }
        tokio::time::sleep(POLL).await;
    }
    println!("{}", usage::own_memory()?);
    Ok(())
}

async fn hold_raw(hold: &Hold) -> Result<()> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", hold.server))?;
    let mut channels = Vec::new();
    for _ in 0..hold.connected {
        channels.push(endpoint.connect().await?);
    }
    println!("{}", usage::own_memory()?);
    Ok(())
}
