//! Real processes for the tests: the command, services, and a load on them. Each stops what it started.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    net::UdpSocket,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use micro::{Channel, Client, Peer};
pub(crate) use micro_test_servers::binary;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::task::JoinSet;
use tonic::{Request, Status};

pub(crate) mod greeter {
    micro::include_proto!("greeter");
}

use greeter::{HelloRequest, say_client::SayClient};

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is a folder of the workspace")
}

/// A network of one test's own: a multicast port on loopback that no other test uses.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) address: String,
}

impl Network {
    pub(crate) fn new() -> Self {
        static NEXT: Mutex<Option<u16>> = Mutex::new(None);
        let mut next = NEXT.lock().unwrap();
        loop {
            let seed = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
            let port = next.map_or(seed, |port| if port >= 31_999 { 20_000 } else { port + 1 });
            *next = Some(port);
            if UdpSocket::bind(("0.0.0.0", port)).is_ok() {
                return Self {
                    address: format!("127.0.0.1:{port}"),
                };
            }
        }
    }

    /// A client that finds nodes here.
    pub(crate) fn client(&self) -> Client {
        let registry = micro_registry_mdns::Mdns::builder()
            .address(&self.address)
            .build()
            .unwrap();
        Client::builder(Arc::new(registry)).build().unwrap()
    }

    /// A command that finds its registry here, and has none of this process's own settings.
    pub(crate) fn command(&self, binary_name: &str) -> Command {
        told(binary_name, &[("MICRO_REGISTRY_ADDRESS", self.address.clone())])
    }

    /// Runs `micro` with these arguments to its end.
    pub(crate) fn micro(&self, arguments: &[&str]) -> Output {
        run(self.command("micro").args(arguments))
    }

    /// Starts `micro run examples/greeter` and waits until it says that all nodes are ready.
    pub(crate) fn run_greeter(&self, nodes: usize) -> Process {
        let nodes = nodes.to_string();
        let run = Process::start(
            self.command("micro")
                .args(["run", "examples/greeter", "--nodes", &nodes]),
        );
        run.wait_for("all nodes are ready", |line| {
            line.contains("micro call ") || line.contains(" call greeter ")
        });
        run
    }

    /// Starts one greeter, and waits until a client finds it.
    pub(crate) fn greeter(&self, id: &str) -> Process {
        Process::start(self.command("greeter").env("MICRO_SERVER_ID", id))
    }
}

/// A program under test with these variables, and none of this process's own settings.
pub(crate) fn told(binary_name: &str, variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(binary(binary_name));
    let ours = ["MICRO_", "CONSUL_", "ETCD_", "ETCDCTL_"];
    for (name, _) in std::env::vars().filter(|(name, _)| ours.iter().any(|start| name.starts_with(start))) {
        command.env_remove(name);
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.env("NO_COLOR", "1").env("RUST_LOG", "info");
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A process whose output is collected line by line. Dropping it ends it, gently first.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let readers = vec![
            collect(child.stdout.take().unwrap(), Arc::clone(&lines)),
            collect(child.stderr.take().unwrap(), Arc::clone(&lines)),
        ];
        Self {
            child,
            lines,
            readers,
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    pub(crate) fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// The first line of the output so far for which `wanted` holds; waits for it.
    pub(crate) fn wait_for(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut found = None;
        wait(what, || {
            found = self
                .lines
                .lock()
                .unwrap()
                .iter()
                .find(|line| wanted(line))
                .cloned();
            found.is_some()
        })
        .unwrap_or_else(|reason| panic!("{reason}; it said:\n{}", self.output()));
        found.unwrap()
    }

    /// Waits until the process has ended, and says how and after how long.
    pub(crate) fn wait_for_end(&mut self) -> (ExitStatus, Duration) {
        let started = Instant::now();
        let mut status = None;
        wait("the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .unwrap_or_else(|reason| panic!("{reason}; it said:\n{}", self.output()));
        let took = started.elapsed();
        // What it said last may still be on its way.
        for reader in self.readers.drain(..) {
            reader.join().unwrap();
        }
        (status.unwrap(), took)
    }

    /// The nodes that a `micro run` runs, by id.
    pub(crate) fn nodes(&self) -> BTreeMap<String, i32> {
        let children =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid())).unwrap_or_default();
        let nodes = children.split_whitespace().filter_map(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
            let variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let id = variables
                .into_iter()
                .find_map(|variable| Some(variable.strip_prefix("MICRO_SERVER_ID=")?.to_owned()))?;
            Some((id, pid.parse().ok()?))
        });
        nodes.collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        self.signal(Signal::SIGTERM);
        if wait("the process ends", || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        })
        .is_err()
        {
            // The last resort: it did not end by itself within the patience of a test.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn collect(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}

/// Polls until `holds`, for as long as a test has patience.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), String> {
    let started = Instant::now();
    while !holds() {
        if started.elapsed() > PATIENCE {
            return Err(format!("waited {PATIENCE:?} in vain until {what}"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Polls until `holds`, without blocking the runtime.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < PATIENCE,
            "waited {PATIENCE:?} in vain until {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Calls `Say.Hello` once.
pub(crate) async fn hello(channel: &Channel) -> Result<Peer, Status> {
    let mut client = SayClient::new(channel.clone());
    let response = client
        .hello(Request::new(HelloRequest {
            name: "Ada".to_owned(),
        }))
        .await?;
    let peer = response
        .extensions()
        .get::<Peer>()
        .expect("an answer has a peer")
        .clone();
    assert_eq!(response.into_inner().message, "Hello Ada");
    Ok(peer)
}

/// Waits until calls reach this many nodes.
pub(crate) async fn reached(channel: &Channel, nodes: usize) {
    eventually(&format!("calls reach {nodes} nodes"), async || {
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..8 * nodes {
            if let Ok(peer) = hello(channel).await {
                ids.insert(peer.node_id().to_owned());
            }
        }
        ids.len() == nodes
    })
    .await;
}

/// One call of a load: when it was started, and what became of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) started: Instant,
    pub(crate) result: Result<Peer, Status>,
}

/// Calls at a fixed rate, whether or not the answers keep up.
pub(crate) struct Load {
    stop: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Vec<Made>>,
}

impl Load {
    pub(crate) fn start(channel: Channel, calls_per_second: u32) -> Self {
        let (stop, mut stopped) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / calls_per_second);
            let (mut running, mut made) = (JoinSet::new(), Vec::new());
            loop {
                tokio::select! {
                    biased;
                    _ = &mut stopped => break,
                    _ = ticks.tick() => {
                        let (channel, started) = (channel.clone(), Instant::now());
                        running.spawn(async move { Made { started, result: hello(&channel).await } });
                    }
                }
                while let Some(done) = running.try_join_next() {
                    made.push(done.unwrap());
                }
            }
            made.extend(running.join_all().await);
            made
        });
        Self { stop, task }
    }

    /// Ends the load and gives every call that was made.
    pub(crate) async fn stop(self) -> Vec<Made> {
        // The task may have ended by a panic, which the next line tells.
        let _ = self.stop.send(());
        self.task.await.unwrap()
    }
}
