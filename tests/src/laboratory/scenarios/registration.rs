//! What happens to one registration: its process stands still, its id is taken, or it is one of hundreds.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use micro::{
    Service,
    registry::{Node, Registry, Result, Snapshot, Watcher},
};
use nix::sys::signal::Signal;
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    super::{
        Backend, Laboratory, Outcome, PATIENCE, Process, SERVICE, Setup, Size, pass, wait, world::free_port,
    },
    NODES, http_status,
    outage::Stage,
};

/// Over how long hundreds of registrations are spread.
const SPREAD: Duration = Duration::from_secs(4);

/// F21: a node stands still for twice as long as its registration holds.
pub(super) async fn stood_still(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    stage.nodes[0].signal(Signal::SIGSTOP);
    let others = [NODES[1], NODES[2]];
    let stopped = Instant::now();
    if setup.backend != Backend::Mdns {
        stage.laboratory.registered(&others).await;
    }
    pass((setup.pace.ttl() * 2).saturating_sub(stopped.elapsed())).await;
    let others_only = Instant::now();
    pass(Duration::from_secs(1)).await;
    stage.nodes[0].signal(Signal::SIGCONT);
    let continued = Instant::now();
    stage.laboratory.registered(&NODES).await;
    let registered = continued.elapsed();
    stage.caller.reaches(&NODES).await;
    let records = load.stop().await;
    let failed_late = records
        .failed()
        .filter(|record| record.started > others_only && record.started < continued)
        .count();
    Outcome::new("F21")
        .load(&records, &stage.laboratory.executions())
        .count(
            "calls that failed once the node was known to stand still",
            failed_late,
            0,
        )
        .seconds("registered after it went on", registered, Duration::from_secs(1))
}

/// F32: a second process takes the id of a node that lives.
pub(super) async fn id_taken(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let load = stage.load(&setup).await;
    let taken = Instant::now();
    let address = format!("127.0.0.1:{}", free_port());
    let mut newcomer = Process::start(
        stage
            .laboratory
            .command(NODES[0])
            .env("MICRO_SERVER_ADDRESS", &address),
    );
    wait("the newcomer answers", PATIENCE, async || {
        http_status(&address, "/health").await == Some(200)
    })
    .await;
    let ready = http_status(&address, "/ready").await;
    let (status, _) = newcomer.ended(PATIENCE).await;
    let gave_up = taken.elapsed();
    let ended = Instant::now();
    let records = load.stop().await;
    let warned = newcomer.said("another node has this id") > 0;
    let told = newcomer.said("give up to register node `one` of `probe`") > 0;
    stage
        .outcome("F32", &records, taken, ended)
        .count("changes of the set", stage.caller.seen.changes(taken), 0)
        .holds("the newcomer is not ready", ready == Some(503))
        .holds("the newcomer warns", warned)
        .holds(
            "the newcomer ends with an error that says why",
            !status.success() && told,
        )
        .seconds(
            "the newcomer gave up",
            gave_up,
            setup.pace.ttl() * 2 + Duration::from_secs(5),
        )
}

/// F32: a node with a fixed id is killed and comes back, to its own record.
pub(super) async fn id_of_its_own(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    stage.nodes[0].signal(Signal::SIGKILL);
    let killed = Instant::now();
    let address = format!("127.0.0.1:{}", free_port());
    let _again = Process::start(
        stage
            .laboratory
            .command(NODES[0])
            .env("MICRO_SERVER_ADDRESS", &address),
    );
    let registry = stage.laboratory.world.direct();
    wait("the node is registered where it is now", PATIENCE, async || {
        let snapshot = registry.get_service(SERVICE).await;
        snapshot.is_ok_and(|snapshot| {
            let node = snapshot.get(NODES[0]);
            node.is_some_and(|node| node.address().to_string() == address)
        })
    })
    .await;
    Outcome::new("F32").seconds(
        "the killed node is registered",
        killed.elapsed(),
        setup.pace.ttl() * 2,
    )
}

/// F22: hundreds of nodes find their registry back at once.
pub(super) async fn crowd(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::OneForHundreds).await;
    let nodes = setup.pace.of(200, 500);
    let taken = Arc::new(Mutex::default());
    let mut services = JoinSet::new();
    for index in 0..nodes {
        let service = Service::builder(SERVICE)
            .id(format!("crowd-{index}"))
            // Each has a handle of its own, as processes have.
            .registry(Arc::new(Counted {
                registry: laboratory.world.direct(),
                taken: Arc::clone(&taken),
            }))
            .environment([("MICRO_REGISTER_TTL", "30s")])
            .control(Handle::current())
            .build()
            .expect("a good service");
        services.spawn(service.run());
    }
    let registry = laboratory.world.direct();
    let all = async || {
        let snapshot = registry.get_service(SERVICE).await;
        snapshot.is_ok_and(|snapshot| snapshot.len() == nodes)
    };
    wait("all are registered", PATIENCE, all).await;
    laboratory.world.kill();
    // By then each has found out, and waits as long as it ever does.
    pass(Duration::from_secs(25)).await;
    laboratory.world.start_wiped().await;
    let back = Instant::now();
    wait("all are registered again", PATIENCE, all).await;
    let registered = back.elapsed();
    let peak = peak(&taken, back);
    drop(services);
    #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
    let mean = 1.5 * nodes as f64 / SPREAD.as_secs_f64();
    // Each waits for a time of its own, so chance adds something: three standard deviations.
    let allowed = mean + 3.0 * mean.sqrt();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some hundreds"
    )]
    Outcome::new("F22")
        .count(
            "registrations in the busiest second",
            peak,
            allowed.ceil() as usize,
        )
        .seconds(
            "all registered after the registry came",
            registered,
            Duration::from_secs(15),
        )
}

/// A registry that writes down when a node was sent that it took.
#[derive(Debug)]
struct Counted {
    registry: Arc<dyn Registry>,
    taken: Arc<Mutex<Vec<Instant>>>,
}

/// The most that were sent in any second after `since`.
fn peak(taken: &Mutex<Vec<Instant>>, since: Instant) -> usize {
    let mut taken = taken.lock().expect("no panic while locked").clone();
    taken.retain(|at| *at > since);
    taken.sort();
    let second = Duration::from_secs(1);
    let counts = taken
        .iter()
        .enumerate()
        .map(|(index, first)| taken[index..].partition_point(|at| *at < *first + second));
    counts.max().unwrap_or(0)
}

#[async_trait]
impl Registry for Counted {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let sent = Instant::now();
        self.registry.register(node, ttl).await?;
        self.taken.lock().expect("no panic while locked").push(sent);
        Ok(())
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.registry.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.registry.get_service(service).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.registry.list_services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        self.registry.watch(service).await
    }

    fn name(&self) -> &'static str {
        self.registry.name()
    }
}
