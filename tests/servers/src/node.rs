//! One process of a server: killed, started again, paused.

use std::{
    env, fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::Pid,
};
use reqwest::{Client, Method, StatusCode};

use crate::{Error, Result, poll::Wait, program::Program, socket};

/// How often a node is started again while somebody else is on its ports.
const STARTS_MAX: usize = 10;
/// How much of a log an error shows.
const LOG_LINES_MAX: usize = 40;
/// What a program says whose port somebody else has.
const PORT_TAKEN: &str = "address already in use";

/// A process of a server: Consul's agent, etcd's member. Killed when it is dropped.
#[derive(Debug)]
pub struct Node {
    plan: Plan,
    process: Mutex<Option<Process>>,
    is_paused: AtomicBool,
    client: Client,
}

/// How a node is started, each time.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) program: Program,
    pub(crate) arguments: Vec<String>,
    /// Its own; the data are in the folder `data` in it.
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    pub(crate) tls_port: u16,
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

impl Node {
    pub(crate) fn new(plan: Plan, client: Client) -> Self {
        Self {
            plan,
            process: Mutex::new(None),
            is_paused: AtomicBool::new(false),
            client,
        }
    }

    /// Its name in the cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where it listens without TLS: host and port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plan.port)
    }

    /// Where it listens for TLS, if it was started with it: a URL.
    #[must_use]
    pub fn tls_address(&self) -> String {
        format!("https://localhost:{}", self.plan.tls_port)
    }

    /// Kills it, also while it is paused. Nothing happens to one that does not run.
    pub fn kill(&self) {
        self.process().take();
        self.is_paused.store(false, Ordering::Relaxed);
    }

    /// Starts it where it was, with what it has on its disk, and waits until it answers. That it has a leader is
    /// another matter: `until_ready` of its cluster waits for that.
    ///
    /// # Errors
    ///
    /// When it ends at once, or does not answer in time.
    pub async fn start_again(&self) -> Result<()> {
        for _ in 0..STARTS_MAX {
            self.spawn()?;
            if self.until_answering().await? {
                return Ok(());
            }
            if !self.log().contains(PORT_TAKEN) {
                break;
            }
        }
        Err(self.ended())
    }

    /// Kills it, and starts it where it was, knowing nothing.
    ///
    /// # Errors
    ///
    /// As [`start_again`](Self::start_again); a member of an etcd cluster that still has its others does not come up.
    pub async fn start_wiped(&self) -> Result<()> {
        self.wipe()?;
        self.start_again().await
    }

    /// Stops its time: it keeps its connections, and answers nobody.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn pause(&self) {
        let id = self.signal(Signal::SIGSTOP);
        // Its threads go on for a moment, in which it could still answer.
        let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(id), stopped).expect("the node is ours");
        self.is_paused.store(true, Ordering::Relaxed);
    }

    /// Lets its time go on.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
        self.is_paused.store(false, Ordering::Relaxed);
    }

    /// Where it keeps what it knows, if it keeps it: to be copied while it does not run.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.plan.folder.join("data")
    }

    /// Whether its process lives; a paused one does.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let mut process = self.process();
        let status = process.as_mut().map(|process| process.0.try_wait());
        matches!(status, Some(Ok(None)))
    }

    /// Whether it can answer: it runs, and is not paused.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_running() && !self.is_paused.load(Ordering::Relaxed)
    }

    /// The last lines that it wrote since it was started last.
    #[must_use]
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.plan.folder.join("log")).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_MAX)..].join("\n")
    }

    /// One request to it: the path begins with a slash.
    ///
    /// # Errors
    ///
    /// When there is no answer, of whatever status.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<(StatusCode, String)> {
        let url = format!("http://{}{path}", self.address());
        let request = self.client.request(method, url).body(body.to_owned());
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        let failed = || format!("ask {} for {path}", self.plan.name);
        let answer = request
            .send()
            .await
            .map_err(|error| Error::during(failed())(error))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .map_err(|error| Error::during(failed())(error))?;
        Ok((status, text))
    }

    pub(crate) fn wipe(&self) -> Result<()> {
        self.kill();
        let data = self.data();
        if data.exists() {
            fs::remove_dir_all(&data).map_err(Error::during(format_args!("wipe {}", self.plan.name)))?;
        }
        Ok(())
    }

    pub(crate) fn spawn(&self) -> Result<()> {
        // Whoever runs by now would be on the ports of the new one.
        self.kill();
        let plan = &self.plan;
        let failed = || format!("start {}", plan.name);
        fs::create_dir_all(&plan.folder).map_err(|error| Error::during(failed())(error))?;
        let log =
            fs::File::create(plan.folder.join("log")).map_err(|error| Error::during(failed())(error))?;
        let errors = log.try_clone().map_err(|error| Error::during(failed())(error))?;
        let mut command = Command::new(plan.program.find()?);
        // Both programs take settings from the environment; those of a developer are not meant for this one.
        let exported = env::vars_os().map(|(name, _)| name).filter(|name| {
            let name = name.to_string_lossy();
            name.starts_with("CONSUL_") || name.starts_with("ETCD_") && name != "ETCD_UNSUPPORTED_ARCH"
        });
        for name in exported {
            command.env_remove(name);
        }
        command.args(&plan.arguments).current_dir(&plan.folder);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().map_err(|error| Error::during(failed())(error))?;
        *self.process() = Some(Process(child));
        Ok(())
    }

    /// Waits until it answers at all, and nobody else in its place; `false` if it ends before.
    pub(crate) async fn until_answering(&self) -> Result<bool> {
        let wait = Wait::until(format!("{} answers", self.plan.name));
        while self.is_running() {
            // Another process may have the port, and answer in its place.
            if self.request(Method::GET, "/", &[], "").await.is_ok() && self.listens() {
                return Ok(true);
            }
            wait.on(|| self.log()).await?;
        }
        Ok(false)
    }

    /// Whether it lives and has its port; where the system does not tell whose a port is, that it lives has to do.
    fn listens(&self) -> bool {
        let process = self.process().as_ref().map(|process| process.0.id());
        let owns = process.and_then(|process| socket::listens(process, self.plan.port));
        self.is_running() && owns.unwrap_or(true)
    }

    /// Why it is not there, if it should be.
    pub(crate) fn ended(&self) -> Error {
        Error::new(format!("{} ends at once:\n{}", self.plan.name, self.log()))
    }

    pub(crate) fn met_another_on_its_ports(&self) -> bool {
        self.log().contains(PORT_TAKEN)
    }

    fn signal(&self, signal: Signal) -> Pid {
        let process = self.process();
        let id = process.as_ref().expect("the node runs").0.id();
        let id = Pid::from_raw(i32::try_from(id).expect("a process's id fits"));
        kill(id, signal).expect("the node runs");
        id
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no panic while the process is locked")
    }
}
