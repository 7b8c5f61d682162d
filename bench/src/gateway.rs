//! Calls over HTTP and JSON through the gateway against the same calls by the gRPC client, in turn, as ratios.

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use crate::{
    Result,
    bench::{self, Payload, bench_client::BenchClient},
    calls::ratio::{Ratio, median},
};

/// How the gateway is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// How often each contestant runs
    #[arg(long, default_value_t = 9)]
    rounds: usize,
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
}

/// Runs before the time that counts.
const WARM_UP: Duration = Duration::from_millis(500);
const DATA: &[u8] = b"hello";
const JSON: &str = r#"{"data":"aGVsbG8="}"#;

/// Runs all rounds, and prints the ratios.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let server = Running::start(&["serve", "micro"])?;
    let gateway = Running::start(&["serve-gateway", &server.address.to_string()])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (mut grpc, mut http) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        grpc.push(runtime.block_on(calls(server.address, settings))?);
        http.push(runtime.block_on(requests(gateway.address, settings))?);
    }
    let ratios = http.iter().zip(&grpc).map(|(http, grpc)| http / grpc).collect();
    println!(
        "{} rounds of {} s in turn, {} in flight: a unary call with {} bytes",
        settings.rounds,
        settings.seconds,
        settings.in_flight,
        DATA.len()
    );
    println!("gRPC, micro's client     {:>10.0} calls/s", median(grpc));
    println!("HTTP and JSON, gateway   {:>10.0} calls/s", median(http));
    println!("ratio, round by round: median (quartiles)  {}", Ratio::of(ratios));
    Ok(())
}

/// Serves until standard input ends; the first line of output is the address.
pub(crate) fn serve(settings: &Serve) -> Result<()> {
    let registry: micro::registry::Static = format!("bench={}", settings.server).parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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

/// Calls a second by the gRPC client.
async fn calls(server: SocketAddr, settings: &Settings) -> Result<f64> {
    let registry: micro::registry::Static = format!("bench={server}").parse()?;
    let client = micro::Client::builder(Arc::new(registry)).build()?;
    let channel = client.channel("bench").descriptors(bench::FILE_DESCRIPTOR_SET)?;
    let callers = (0..settings.in_flight).map(|_| Caller::Grpc(BenchClient::new(channel.clone())));
    measure(settings, callers.collect()).await
}

/// Requests a second through the gateway.
async fn requests(gateway: SocketAddr, settings: &Settings) -> Result<f64> {
    let request = format!(
        "POST /bench/echo HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{JSON}",
        JSON.len()
    );
    let request: Arc<str> = request.into();
    let mut callers = Vec::new();
    for _ in 0..settings.in_flight {
        let stream = TcpStream::connect(gateway).await?;
        stream.set_nodelay(true)?;
        callers.push(Caller::Http {
            stream,
            request: Arc::clone(&request),
            buffer: Vec::new(),
        });
    }
    measure(settings, callers).await
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

async fn measure(settings: &Settings, callers: Vec<Caller>) -> Result<f64> {
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
    counts.store(true, Ordering::Relaxed);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs_f64(settings.seconds)).await;
    over.store(true, Ordering::Relaxed);
    let elapsed = started.elapsed();
    let mut made = 0;
    for outcome in running.join_all().await {
        made += outcome?;
    }
    Ok(f64::from(made) / elapsed.as_secs_f64())
}

/// A process that serves; its end is the end of our pipe to it.
struct Running {
    process: Child,
    address: SocketAddr,
}

impl Running {
    fn start(arguments: &[&str]) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("the process has no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let address = line.trim().parse();
        let address = address.map_err(|error| format!("the process said {line:?}: {error}"))?;
        Ok(Self { process, address })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails when it has ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
