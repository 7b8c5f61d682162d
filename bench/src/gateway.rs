//! Calls over HTTP and JSON through the gateway against the same calls by the gRPC client, in turn, as ratios.

use std::{
    env,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, value_parser};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    Result,
    bench::{self, Payload, bench_client::BenchClient},
    calls::{
        Running,
        ratio::{Ratio, median},
    },
    usage,
};

/// How the gateway is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// How often each contestant runs
    #[arg(long, default_value_t = 9, value_parser = value_parser!(u64).range(1..=1000))]
    rounds: u64,
    /// How long a round counts
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Calls at a time
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
}

/// What a gateway is told.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    server: SocketAddr,
    /// On a single thread, so that its instructions can be counted
    #[arg(long)]
    one_thread: bool,
}

/// Runs before the time that counts.
const WARM_UP: Duration = Duration::from_millis(500);
const DATA: &[u8] = b"hello";
const JSON: &str = r#"{"data":"aGVsbG8="}"#;
/// More than an answer takes, so that it is read at once.
const ANSWER_ROOM: usize = 4096;

/// A round of one contestant.
struct Round {
    calls_per_second: f64,
    /// The processor time that a call takes of those who call, of the gateway, and of the server, in microseconds.
    cpu: [f64; 3],
}

/// Runs all rounds, and prints the ratios.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let server = Running::start("micro")?;
    let gateway = Running::start_as(&mut gateway(server.address)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let processes = [gateway.id(), server.id()];
    let (mut grpc, mut http) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        grpc.push(runtime.block_on(async {
            let callers = callers(server.address, settings)?;
            measure(settings, callers, processes).await
        })?);
        http.push(runtime.block_on(async {
            let senders = senders(gateway.address, settings.in_flight).await?;
            measure(settings, senders, processes).await
        })?);
    }
    let rates = |rounds: &[Round]| rounds.iter().map(|round| round.calls_per_second).collect();
    let ratios = http.iter().zip(&grpc);
    let ratios = ratios.map(|(http, grpc)| http.calls_per_second / grpc.calls_per_second);
    println!(
        "{} rounds of {} s in turn, {} in flight: a unary call with {} bytes",
        settings.rounds,
        settings.seconds,
        settings.in_flight,
        DATA.len()
    );
    println!(
        "{:24} {:>10} {:>16} {:>11} {:>10}",
        "", "calls/s", "us CPU: caller", "gateway", "server"
    );
    for (name, rounds) in [("gRPC, micro's client", &grpc), ("HTTP and JSON, gateway", &http)] {
        let cpu = [0, 1, 2].map(|of| median(rounds.iter().map(|round| round.cpu[of]).collect()));
        println!(
            "{name:24} {:>10.0} {:>16.2} {:>11.2} {:>10.2}",
            median(rates(rounds)),
            cpu[0],
            cpu[1],
            cpu[2]
        );
    }
    println!(
        "ratio, round by round: median [where it lies, 95 in 100] (quartiles)  {}",
        Ratio::of(ratios.collect())
    );
    Ok(())
}

/// This program as a gateway to `server`.
pub(crate) fn gateway(server: SocketAddr) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["serve-gateway", &server.to_string()]);
    Ok(command)
}

/// Serves until standard input ends; the first line of output is the address.
pub(crate) fn serve(settings: &Serve) -> Result<()> {
    let registry: micro::registry::Static = format!("bench={}", settings.server).parse()?;
    let mut runtime = if settings.one_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.enable_all().build()?;
    let exporting = micro_gateway::Settings::exporting(["bench"])?;
    let service = micro_gateway::service(exporting)
        .registry(Arc::new(registry))
        .address("127.0.0.1:0")
        .after_start(|context| async move {
            let address = context.local_address().ok_or("the gateway has no address")?;
            println!("{address}");
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        });
    let service = service.build()?;
    runtime.block_on(async {
        let (mut input, mut end) = (tokio::io::stdin(), [0]);
        tokio::select! {
            result = service.run() => Ok(result?),
            // Ends with the process that started this one, however that ends.
            _ = input.read(&mut end) => Ok(()),
        }
    })
}

/// One of those who call, each on its own.
enum Caller {
    Grpc(BenchClient<micro::Channel>),
    /// A connection of HTTP/1.1 that is kept.
    Http {
        stream: TcpStream,
        request: Arc<str>,
        buffer: Vec<u8>,
    },
}

impl Caller {
    async fn call(&mut self) -> Result<()> {
        match self {
            Self::Grpc(client) => {
                let data = DATA.to_vec();
                let answer = client.echo(Payload { data }).await?;
                if answer.get_ref().data == DATA {
                    return Ok(());
                }
                Err("the answer is another".into())
            }
            Self::Http {
                stream,
                request,
                buffer,
            } => {
                stream.write_all(request.as_bytes()).await?;
                answer(stream, buffer).await
            }
        }
    }
}

/// Those who call by the gRPC client, over its one connection.
fn callers(server: SocketAddr, settings: &Settings) -> Result<Vec<Caller>> {
    let registry: micro::registry::Static = format!("bench={server}").parse()?;
    let client = micro::Client::builder(Arc::new(registry)).build()?;
    let channel = client.channel("bench").descriptors(bench::FILE_DESCRIPTOR_SET)?;
    let callers = (0..settings.in_flight).map(|_| Caller::Grpc(BenchClient::new(channel.clone())));
    Ok(callers.collect())
}

/// Those who send requests to the gateway, each over a connection of its own.
async fn senders(gateway: SocketAddr, count: usize) -> Result<Vec<Caller>> {
    let request = format!(
        "POST /bench/echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{JSON}",
        JSON.len()
    );
    let request: Arc<str> = request.into();
    let mut senders = Vec::new();
    for _ in 0..count {
        let stream = TcpStream::connect(gateway).await?;
        stream.set_nodelay(true)?;
        senders.push(Caller::Http {
            stream,
            request: Arc::clone(&request),
            buffer: Vec::with_capacity(ANSWER_ROOM),
        });
    }
    Ok(senders)
}

/// Sends so many requests to the gateway, one after the other.
pub(crate) fn send(gateway: SocketAddr, requests: u32) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut senders = senders(gateway, 1).await?;
        for _ in 0..requests {
            for sender in &mut senders {
                sender.call().await?;
            }
        }
        Ok(())
    })
}

/// Reads one answer: it is whole when its end is the JSON.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<()> {
    buffer.clear();
    while !buffer.ends_with(JSON.as_bytes()) {
        if stream.read_buf(buffer).await? == 0 || buffer.len() > 64 * 1024 {
            return Err(format!("the answer is another: {}", String::from_utf8_lossy(buffer)).into());
        }
        if buffer.len() > 12 && !buffer.starts_with(b"HTTP/1.1 200") {
            return Err(format!("the answer is another: {}", String::from_utf8_lossy(buffer)).into());
        }
    }
    Ok(())
}

/// `processes` are the gateway and the server.
async fn measure(settings: &Settings, callers: Vec<Caller>, processes: [u32; 2]) -> Result<Round> {
    let used = || {
        let [gateway, server] = processes.map(usage::cpu_of);
        Ok::<_, crate::Error>([usage::own_cpu()?, gateway?, server?])
    };
    let (counts, over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let mut running = JoinSet::new();
    for mut caller in callers {
        let (counts, over) = (Arc::clone(&counts), Arc::clone(&over));
        running.spawn(async move {
            let mut made = 0_u32;
            while !over.load(Ordering::Relaxed) {
                caller.call().await?;
                made += u32::from(counts.load(Ordering::Relaxed));
            }
            Ok::<_, crate::Error>(made)
        });
    }
    tokio::time::sleep(WARM_UP).await;
    let used_before = used()?;
    counts.store(true, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(settings.seconds)).await;
    over.store(true, Ordering::Relaxed);
    let elapsed = started.elapsed();
    let used_after = used()?;
    let mut made = 0;
    for outcome in running.join_all().await {
        made += outcome?;
    }
    let micros = |of: usize| (used_after[of] - used_before[of]).as_secs_f64() * 1e6 / f64::from(made);
    Ok(Round {
        calls_per_second: f64::from(made) / elapsed.as_secs_f64(),
        cpu: [0, 1, 2].map(micros),
    })
}
