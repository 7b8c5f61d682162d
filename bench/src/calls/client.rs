//! One round of one contestant's client, in a process of its own, so that its processor time and memory are its own.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tonic::{
    client::GrpcService,
    codegen::{Body, Bytes, StdError},
    transport::Endpoint,
};

use crate::{
    Result,
    bench::{CountRequest, Payload, bench_client::BenchClient},
    usage,
};

/// Runs before the time that counts: connections are made, and estimates settle.
const WARM_UP: Duration = Duration::from_millis(500);
const LARGE_BYTES: usize = 64 * 1024;
const MESSAGES_A_STREAM: u32 = 1_000;

/// What a client is told.
#[derive(Clone, Debug, Args)]
pub(crate) struct Settings {
    #[arg(long)]
    pub(super) kind: Kind,
    #[arg(long)]
    pub(super) workload: Workload,
    /// The servers, and the process of each.
    #[arg(long, value_delimiter = ',')]
    pub(super) servers: Vec<SocketAddr>,
    #[arg(long, value_delimiter = ',')]
    pub(super) processes: Vec<u32>,
    #[arg(long)]
    pub(super) seconds: f64,
}

/// What a client is told whose instructions are counted.
#[derive(Clone, Debug, Args)]
pub(crate) struct Counted {
    #[arg(long)]
    kind: Kind,
    #[arg(long, value_delimiter = ',')]
    servers: Vec<SocketAddr>,
    #[arg(long)]
    calls: u64,
}

/// Whose client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One bare channel a server, used in turn.
    Raw,
    /// `tonic::transport::Channel::balance_list`.
    Balance,
    /// `micro::Client`, with everything on that is on by default.
    Micro,
    /// The same, recording as a service's client does.
    Recording,
}

/// What is called, and how much at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// Empty unary calls, 64 in flight
    Unary64,
    /// Empty unary calls, one after the other
    Unary1,
    /// Unary calls with 64 KiB both ways, 16 in flight
    Large,
    /// Server streams of 1,000 empty messages, 8 in flight; a message is a call
    Stream,
}

impl Workload {
    fn in_flight(self) -> usize {
        match self {
            Self::Unary64 => 64,
            Self::Unary1 => 1,
            Self::Large => 16,
            Self::Stream => 8,
        }
    }

    /// What its figures are of, where that is not plain.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Stream => "; a call is a message, p50 and p99 are those of a whole stream",
            Self::Unary64 | Self::Unary1 | Self::Large => "",
        }
    }
}

/// What a round came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(super) calls_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) client_cpu_us: f64,
    pub(super) server_cpu_us: f64,
    pub(super) client_memory_bytes: f64,
    pub(super) server_memory_bytes: f64,
}

/// Runs the round, and prints its figures as one line of JSON.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(round(settings))?;
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Makes so many calls, one after the other and all on one thread, and prints nothing.
pub(crate) fn run_counted(settings: &Counted) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match settings.kind {
            Kind::Raw => repeat(raw(&settings.servers).await?, settings.calls).await,
            Kind::Balance => repeat(balanced(&settings.servers)?, settings.calls).await,
            Kind::Micro => repeat(ours(&settings.servers, None)?, settings.calls).await,
            Kind::Recording => {
                let telemetry = micro::Telemetry::new();
                repeat(ours(&settings.servers, Some(&telemetry))?, settings.calls).await
            }
        }
    })
}

async fn repeat<T>(mut clients: Vec<BenchClient<T>>, calls: u64) -> Result<()>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let client = clients.first_mut().ok_or("no server was named")?;
    for _ in 0..calls {
        client.echo(Payload::default()).await?;
    }
    Ok(())
}

async fn round(settings: &Settings) -> Result<Figures> {
    let servers = &settings.servers;
    match settings.kind {
        Kind::Raw => measure(raw(servers).await?, settings).await,
        Kind::Balance => measure(balanced(servers)?, settings).await,
        Kind::Micro => measure(ours(servers, None)?, settings).await,
        Kind::Recording => {
            let telemetry = micro::Telemetry::new();
            measure(ours(servers, Some(&telemetry))?, settings).await
        }
    }
}

fn endpoints(servers: &[SocketAddr]) -> Result<Vec<Endpoint>> {
    let endpoints = servers
        .iter()
        .map(|server| Endpoint::from_shared(format!("http://{server}")));
    let endpoints = endpoints.collect::<Result<Vec<_>, _>>()?;
    // The settings that ours has by default.
    let alike = |endpoint: Endpoint| {
        endpoint
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(5))
            .keep_alive_while_idle(true)
    };
    Ok(endpoints.into_iter().map(alike).collect())
}

async fn raw(servers: &[SocketAddr]) -> Result<Vec<BenchClient<tonic::transport::Channel>>> {
    let mut clients = Vec::new();
    for endpoint in endpoints(servers)? {
        clients.push(BenchClient::new(endpoint.connect().await?));
    }
    Ok(clients)
}

fn balanced(servers: &[SocketAddr]) -> Result<Vec<BenchClient<tonic::transport::Channel>>> {
    let endpoints = endpoints(servers)?.into_iter();
    Ok(vec![BenchClient::new(tonic::transport::Channel::balance_list(
        endpoints,
    ))])
}

fn ours(
    servers: &[SocketAddr],
    telemetry: Option<&micro::Telemetry>,
) -> Result<Vec<BenchClient<micro::Channel>>> {
    let nodes: Vec<_> = servers.iter().map(|server| format!("bench={server}")).collect();
    let registry: micro::registry::Static = nodes.join(",").parse()?;
    let mut client = micro::Client::builder(Arc::new(registry));
    if let Some(telemetry) = telemetry {
        client = client.telemetry(telemetry);
    }
    let channel = client.build()?.channel("bench");
    Ok(vec![BenchClient::new(
        channel.descriptors(crate::bench::FILE_DESCRIPTOR_SET)?,
    )])
}

/// What the callers share.
struct Course {
    workload: Workload,
    counts: AtomicBool,
    over: AtomicBool,
    turn: AtomicUsize,
}

async fn measure<T>(clients: Vec<BenchClient<T>>, settings: &Settings) -> Result<Figures>
where
    T: GrpcService<tonic::body::Body, Future: Send> + Clone + Send + Sync + 'static,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let course = Arc::new(Course {
        workload: settings.workload,
        counts: AtomicBool::new(false),
        over: AtomicBool::new(false),
        turn: AtomicUsize::new(0),
    });
    let mut callers = JoinSet::new();
    for _ in 0..settings.workload.in_flight() {
        callers.spawn(call_on(clients.clone(), Arc::clone(&course)));
    }
    for process in &settings.processes {
        usage::forget_peak_memory_of(*process)?;
    }
    tokio::time::sleep(WARM_UP).await;
    course.counts.store(true, Ordering::Relaxed);
    let (started, client, server) = (Instant::now(), usage::own_cpu()?, servers_cpu(settings)?);
    tokio::time::sleep(Duration::from_secs_f64(settings.seconds)).await;
    course.over.store(true, Ordering::Relaxed);
    let (client, server) = (usage::own_cpu()? - client, servers_cpu(settings)? - server);
    let elapsed = started.elapsed();

    let mut latencies = histogram()?;
    let mut calls = 0;
    for outcome in callers.join_all().await {
        let (made, taken) = outcome?;
        calls += made;
        latencies.add(taken)?;
    }
    let calls = calls as f64;
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    Ok(Figures {
        calls_per_second: calls / elapsed.as_secs_f64(),
        p50_us: latencies.value_at_quantile(0.5) as f64 / 1e3,
        p99_us: latencies.value_at_quantile(0.99) as f64 / 1e3,
        client_cpu_us: micros(client) / calls,
        server_cpu_us: micros(server) / calls,
        client_memory_bytes: usage::own_peak_memory()? as f64,
        server_memory_bytes: servers_peak_memory(settings)? as f64,
    })
}

fn servers_cpu(settings: &Settings) -> Result<Duration> {
    settings
        .processes
        .iter()
        .map(|process| usage::cpu_of(*process))
        .sum()
}

fn servers_peak_memory(settings: &Settings) -> Result<u64> {
    settings
        .processes
        .iter()
        .map(|process| usage::peak_memory_of(*process))
        .sum()
}

/// Latencies of up to a minute in nanoseconds, to three digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000_000, 3)?)
}

/// Calls until it is over; gives how many calls counted, and how long they took.
async fn call_on<T>(mut clients: Vec<BenchClient<T>>, course: Arc<Course>) -> Result<(u64, Histogram<u64>)>
where
    T: GrpcService<tonic::body::Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes, Error: Into<StdError> + Send> + Send + 'static,
{
    let large = Bytes::from(vec![7; LARGE_BYTES]);
    let (mut calls, mut latencies) = (0, histogram()?);
    while !course.over.load(Ordering::Relaxed) {
        let counts = course.counts.load(Ordering::Relaxed);
        let turn = if clients.len() == 1 {
            0
        } else {
            course.turn.fetch_add(1, Ordering::Relaxed) % clients.len()
        };
        let (client, started) = (&mut clients[turn], Instant::now());
        let made = match course.workload {
            Workload::Unary64 | Workload::Unary1 => {
                client.echo(Payload::default()).await?;
                1
            }
            Workload::Large => {
                let data = large.to_vec();
                client.echo(Payload { data }).await?;
                1
            }
            Workload::Stream => {
                let request = CountRequest {
                    messages: MESSAGES_A_STREAM,
                };
                let mut stream = client.count(request).await?.into_inner();
                let mut messages = 0;
                while stream.message().await?.is_some() {
                    messages += 1;
                }
                messages
            }
        };
        if counts {
            calls += made;
            latencies.record(u64::try_from(started.elapsed().as_nanos())?)?;
        }
    }
    Ok((calls, latencies))
}
