//! An agent of Consul's that is its own server, for one test: stopped when it is dropped, also by a panic.

use std::{
    env, fs,
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Client, Method, StatusCode};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tempfile::TempDir;
use tokio::time;

/// How to get what the tests need.
const ADVICE: &str = "no program `consul`: run the tests by `cargo xtask test`, which gets it, or install Consul, or set \
                      MICRO_TEST_CONSUL to the path of its program";
/// No test waits longer for an agent.
const LIMIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often other ports are tried when somebody takes one between our look and the agent's.
const STARTS_MAX: usize = 10;
/// The ports of an agent: HTTP, HTTPS, of the server, and of the gossip, which is UDP, too.
const PORTS: u16 = 4;

/// An agent that runs.
#[derive(Debug)]
pub(crate) struct Agent {
    settings: Settings,
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Process>>,
    client: Client,
}

/// What an agent is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// In Consul's own language, beyond the ports.
    pub(crate) configuration: String,
    /// The token that may do everything, where there are rights.
    pub(crate) master: Option<String>,
}

/// A process that ends with us.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Fails when it has ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Agent {
    /// Starts an agent, and waits until it knows a leader: itself.
    pub(crate) async fn start(settings: Settings) -> Self {
        let roots = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(RootCertStore::empty());
        let client = Client::builder()
            .tls_backend_preconfigured(roots.with_no_client_auth())
            .no_proxy()
            .build();
        let mut agent = Self {
            settings,
            folder: tempfile::tempdir().expect("a folder for the agent"),
            port: 0,
            process: Mutex::new(None),
            client: client.expect("a client"),
        };
        for _ in 0..STARTS_MAX {
            agent.port = free_ports();
            if agent.run().await {
                return agent;
            }
        }
        panic!("the agent ends at once: {}", agent.log());
    }

    /// Where it listens for plain HTTP.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it listens for TLS.
    pub(crate) fn tls_address(&self) -> String {
        format!("https://localhost:{}", self.port + 1)
    }

    /// Kills it; whatever it held is lost.
    pub(crate) fn stop(&self) {
        self.process
            .lock()
            .expect("no panic while the process is locked")
            .take();
    }

    /// Starts it where it was before, knowing nothing.
    pub(crate) async fn start_again(&self) {
        assert!(self.run().await, "the agent does not start again: {}", self.log());
    }

    /// One request past the registry, with the token that may do everything; answers with status and body.
    pub(crate) async fn request(&self, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        self.try_request(method, path, body)
            .await
            .expect("the agent answers")
    }

    async fn try_request(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> reqwest::Result<(StatusCode, String)> {
        let url = format!("http://{}/v1/{path}", self.address());
        let mut request = self.client.request(method, url).body(body.to_owned());
        if let Some(master) = &self.settings.master {
            request = request.header("X-Consul-Token", master);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    /// Whether it came up; not if it ended before.
    async fn run(&self) -> bool {
        let configuration = self.folder.path().join("agent.hcl");
        fs::write(&configuration, self.configuration()).expect("write the configuration");
        let log = fs::File::create(self.folder.path().join("log")).expect("create the log");
        let child = Command::new(program())
            .args([
                "agent",
                "-dev",
                "-bind=127.0.0.1",
                "-client=127.0.0.1",
                "-config-file",
            ])
            .arg(&configuration)
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        let process = Process(child.expect("start the agent"));
        *self.process.lock().expect("no panic while the process is locked") = Some(process);
        self.until_ready().await
    }

    async fn until_ready(&self) -> bool {
        let started = Instant::now();
        loop {
            // It is ready once the catalogue has its own node, and with it the service `consul`.
            let services = self.try_request(Method::GET, "catalog/nodes", "").await;
            if services.is_ok_and(|(status, body)| status.is_success() && body.contains("Address")) {
                return true;
            }
            if self.has_ended() {
                return false;
            }
            assert!(
                started.elapsed() < LIMIT,
                "the agent is not ready: {}",
                self.log()
            );
            time::sleep(POLL_INTERVAL).await;
        }
    }

    fn has_ended(&self) -> bool {
        let mut process = self.process.lock().expect("no panic while the process is locked");
        let ended = process.as_mut().map(|process| process.0.try_wait());
        !matches!(ended, Some(Ok(None)))
    }

    fn configuration(&self) -> String {
        let (http, https, server, gossip) = (self.port, self.port + 1, self.port + 2, self.port + 3);
        format!(
            "log_level = \"warn\"\n\
             ports {{ http = {http} https = {https} server = {server} serf_lan = {gossip} serf_wan = -1 dns = -1 grpc = -1 }}\n\
             {}",
            self.settings.configuration
        )
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// The program, which nobody starts without knowing: named, on PATH, or unpacked by `cargo xtask test`.
fn program() -> PathBuf {
    if let Some(program) = env::var_os("MICRO_TEST_CONSUL") {
        return program.into();
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let unpacked = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../servers/consul");
    let mut found = env::split_paths(&path)
        .map(|folder| folder.join("consul"))
        .chain([unpacked]);
    found.find(|program| program.is_file()).expect(ADVICE)
}

/// The first of as many ports in a row as an agent needs, all free, and outside the range that the system gives away.
fn free_ports() -> u16 {
    let is_free =
        |port| TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..32_000));
    ports
        .find(|first| (*first..first + PORTS).all(is_free))
        .expect("ports come without end")
}
