//! What every scenario stands on: a pace, a registry, services in processes of their own, a client, and a load.

mod executions;
mod load;
mod looks;
mod namespace;
mod observed;
mod outcome;
mod picks;
mod presence;
mod process;
mod records;
pub mod scenarios;
mod throttle;
mod wall_clock;
mod world;

use std::{
    collections::BTreeSet,
    path::PathBuf,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use micro::{Channel, Client, ClientBuilder, registry::Registry};
use tempfile::TempDir;
use tokio::time;

use crate::probe::FILE_DESCRIPTOR_SET;

pub use self::{
    executions::Executions,
    load::{Kind, Load, Plan, Record},
    namespace::Namespace,
    observed::{Observed, Seen},
    outcome::{Figure, Outcome},
    process::Process,
    records::Records,
    world::{Backend, Size, World},
};

/// The variable that names the file where a probe writes down what it ran.
pub const EXECUTIONS: &str = "PROBE_EXECUTIONS";
/// The service that every scenario calls.
pub const SERVICE: &str = "probe";
/// The service whose nodes call those of `SERVICE`.
pub const RELAY: &str = "relay";
/// How long a scenario waits for anything before it gives up, on a machine with other work.
pub const PATIENCE: Duration = Duration::from_secs(90);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// How long a scenario takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As short as the fault can be shown; times may be ten times what is promised, as other work is on the machine.
    Short,
    /// As FAULTS.md has it, on a machine without other work.
    Full,
}

/// What a scenario is run with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How long it takes.
    pub pace: Pace,
    /// Where services are registered.
    pub backend: Backend,
    /// The program `micro-probe`.
    pub probe: PathBuf,
}

/// The stage of one scenario; what was started on it ends with it.
#[derive(Debug)]
pub struct Laboratory {
    /// How long the scenario takes.
    pub pace: Pace,
    /// The registry.
    pub world: World,
    probe: PathBuf,
    folder: TempDir,
}

/// A client whose view of the registry is written down.
#[derive(Debug)]
pub struct Caller {
    /// The client.
    pub client: Client,
    /// The channel to the probes.
    pub channel: Channel,
    /// What the registry told it.
    pub seen: Arc<Observed>,
}

/// Follows the registry. It ends when it is dropped.
#[derive(Debug)]
pub struct Follower {
    /// What the registry told.
    pub seen: Arc<Observed>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pace {
    /// The first for a test, the second for `cargo xtask chaos`.
    #[must_use]
    pub fn of<T>(self, short: T, full: T) -> T {
        match self {
            Self::Short => short,
            Self::Full => full,
        }
    }

    /// By how much a time may miss what is promised.
    #[must_use]
    pub fn tolerance(self) -> u32 {
        self.of(10, 1)
    }

    /// How long the load runs before and after the fault.
    #[must_use]
    pub fn calm(self) -> Duration {
        self.of(Duration::from_secs(1), Duration::from_secs(30))
    }

    /// How long a registration holds.
    #[must_use]
    pub fn ttl(self) -> Duration {
        self.of(Duration::from_secs(6), Duration::from_secs(30))
    }

    /// After how long a late call is sent to a second node, where that is on.
    #[must_use]
    pub fn hedge_delay(self) -> Duration {
        self.of(Duration::from_millis(500), Duration::from_millis(100))
    }

    /// The load of most scenarios.
    #[must_use]
    pub fn plan(self, kind: Kind) -> Plan {
        Plan {
            rate: self.of(200, 500),
            // What a loaded machine holds up is no fault of ours.
            deadline: self.of(Duration::from_secs(5), Duration::from_secs(1)),
            work: Duration::from_millis(5),
            kind,
            padding: 0,
        }
    }

    /// A load of streams of a second each, for beside another load.
    #[must_use]
    pub fn streams(self) -> Plan {
        Plan {
            rate: self.of(20, 50),
            deadline: Duration::from_secs(30),
            work: Duration::from_millis(50),
            kind: Kind::Stream,
            padding: 0,
        }
    }
}

impl Laboratory {
    /// Starts the registry.
    ///
    /// # Panics
    ///
    /// When it does not come up.
    pub async fn start(setup: &Setup, size: Size) -> Self {
        Self::with(setup, World::start(setup.backend, size).await)
    }

    /// A stage on a registry that runs, or does not run yet.
    ///
    /// # Panics
    ///
    /// When there is no room for files.
    #[must_use]
    pub fn with(setup: &Setup, world: World) -> Self {
        let folder = tempfile::tempdir().expect("a folder for what the nodes write");
        std::fs::write(
            folder.path().join("micro.toml"),
            "[server]\ncheck_interval = \"200ms\"\n",
        )
        .expect("the folder can be written to");
        Self {
            pace: setup.pace,
            world,
            probe: setup.probe.clone(),
            folder,
        }
    }

    /// The command that starts a node with this id.
    #[must_use]
    pub fn command(&self, id: &str) -> Command {
        let mut command = Command::new(&self.probe);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("MICRO_") || text.starts_with("CONSUL_") || text.starts_with("ETCD_") {
                command.env_remove(&name);
            }
        }
        command
            .envs(self.world.environment())
            .env("MICRO_SERVER_ID", id)
            .env("MICRO_REGISTER_TTL", format!("{}s", self.pace.ttl().as_secs()))
            .env(EXECUTIONS, self.folder.path().join(format!("{id}.executions")))
            .env("RUST_LOG", "info")
            .current_dir(self.folder.path());
        command
    }

    /// Starts a node.
    #[must_use]
    pub fn node(&self, id: &str) -> Process {
        Process::start(&mut self.command(id))
    }

    /// Starts these nodes, and waits until they are registered.
    pub async fn nodes<const N: usize>(&self, ids: [&str; N]) -> [Process; N] {
        let nodes = ids.map(|id| self.node(id));
        self.registered(&ids).await;
        nodes
    }

    /// Waits until the registry has these nodes and no others, and says how long that took.
    pub async fn registered(&self, ids: &[&str]) -> Duration {
        let wanted: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        let (registry, started) = (self.world.direct(), Instant::now());
        loop {
            let snapshot = registry.get_service(SERVICE).await;
            let found = snapshot.as_ref().map(observed::ids);
            if found.as_ref().is_ok_and(|found| *found == wanted) {
                return started.elapsed();
            }
            assert!(
                started.elapsed() < PATIENCE,
                "waited {PATIENCE:?} in vain until registered are {wanted:?}; there are {found:?}"
            );
            pass(POLL_INTERVAL).await;
        }
    }

    /// A client of the registry.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller_with(|client| client)
    }

    /// A client of the registry, with settings of its own.
    ///
    /// # Panics
    ///
    /// When the settings are wrong.
    #[must_use]
    pub fn caller_with(&self, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Caller {
        Self::caller_of(self.world.registry(), adjust)
    }

    /// A client of this handle of the registry.
    ///
    /// # Panics
    ///
    /// When the settings are wrong.
    #[must_use]
    pub fn caller_of(
        registry: Arc<dyn Registry>,
        adjust: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Caller {
        let seen = Arc::new(Observed::new(registry));
        let builder = Client::builder(Arc::clone(&seen) as Arc<dyn Registry>);
        let client = adjust(builder).build().expect("the settings are right");
        // Told, as not every registry has room for what the methods are.
        let channel = client.channel(SERVICE).descriptors(FILE_DESCRIPTOR_SET);
        let channel = channel.expect("the probe's descriptors decode");
        Caller {
            client,
            channel,
            seen,
        }
    }

    /// What the nodes ran so far.
    #[must_use]
    pub fn executions(&self) -> Executions {
        Executions::read(self.folder.path())
    }

    /// Follows the service past everything that stands between the registry and its services.
    #[must_use]
    pub fn follow(&self) -> Follower {
        let seen = Arc::new(Observed::new(self.world.direct()));
        let registry = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                if let Ok(mut watcher) = registry.watch(SERVICE).await {
                    while let Some(Ok(_)) = watcher.next().await {}
                }
                pass(POLL_INTERVAL).await;
            }
        });
        Follower { seen, task }
    }

    /// The folder of the nodes: their working directory.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Caller {
    /// Waits until calls reach all these nodes.
    pub async fn reaches(&self, ids: &[&str]) {
        let mut missing: BTreeSet<&str> = ids.iter().copied().collect();
        wait(&format!("calls reach {ids:?}"), PATIENCE, async || {
            let load = Load::start(
                self.channel.clone(),
                Plan {
                    rate: 200,
                    deadline: Duration::from_secs(5),
                    work: Duration::ZERO,
                    kind: Kind::Read,
                    padding: 0,
                },
            );
            pass(Duration::from_millis(100)).await;
            let records = load.stop().await;
            for record in records.all() {
                if let Some(node) = record.node.as_deref().filter(|_| record.code == tonic::Code::Ok) {
                    missing.remove(node);
                }
            }
            missing.is_empty()
        })
        .await;
    }
}

/// Polls until `holds`.
///
/// # Panics
///
/// When it does not hold within `limit`.
pub async fn wait(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < limit, "waited {limit:?} in vain until {what}");
        time::sleep(POLL_INTERVAL).await;
    }
}

/// Lets a fault or a load go on for this long: what is looked at is what happens meanwhile.
pub async fn pass(duration: Duration) {
    time::sleep(duration).await;
}
