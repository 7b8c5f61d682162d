//! The host is in trouble: its wall clock jumps, its disk is full, there are no files or no processor time to be had.

use std::{
    fs::{self, File},
    io,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use nix::sys::signal::Signal;
use tonic::Code;

use super::{
    super::{
        Caller, FILE_DESCRIPTOR_SET, Kind, Laboratory, Load, Outcome, PATIENCE, Plan, Process, RELAY, Setup,
        Size, pass, picks::Picks, throttle::Throttle, wait, wall_clock::WallClock, world::free_port,
    },
    NODES,
    outage::Stage,
    servers::{behave, hedging},
};
use crate::probe::Behaviour;

/// By how many seconds the wall clock jumps.
const JUMP: i64 = 3600;

/// What the system says when there are no files to be had.
const NO_FILES: &str = "Too many open files";

/// F36: the wall clock jumps an hour ahead, and then two hours back, for nodes and for a client in a process of its own.
pub(super) async fn wall_clock_jumps(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let clock = WallClock::new(laboratory.folder());
    let nodes = NODES.map(|id| Process::start(&mut clock.command(laboratory.command(id))));
    let relay = Relay::start(&laboratory, |command| clock.command(command)).await;
    laboratory.registered(&NODES).await;
    let caller = laboratory.caller();
    let stage = Stage::of(laboratory, nodes, caller);
    stage.caller.reaches(&NODES).await;
    let follower = stage.laboratory.follow();
    wait("the registry is followed", PATIENCE, async || {
        follower.seen.last().is_some_and(|seen| seen.ids.len() == 3)
    })
    .await;
    let load = stage.load(&setup).await;
    let relayed = relay.load(&setup);
    let jumped = Instant::now();
    let mut wrong = 0;
    for error in [JUMP, -JUMP] {
        clock.set(error);
        let told = behave(&stage.caller, NODES[0], Behaviour::default())
            .await
            .wall_clock;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
            .as_secs();
        wrong += usize::from(told.abs_diff(now.saturating_add_signed(error)) > 60);
        // Together longer than a registration holds.
        pass(setup.pace.of(setup.pace.ttl() * 2 / 3, setup.pace.ttl() * 2)).await;
    }
    let (records, relayed) = (load.stop().await, relayed.stop().await);
    let said = relayed.failures(jumped);
    Outcome::new("F36")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count(
            format!("failed calls of the client whose clock jumped {said}"),
            relayed.failed().count(),
            0,
        )
        .count("jumps that the node did not see", wrong, 0)
        .count("changes of the registry", follower.seen.changes(jumped), 0)
}

/// F38: a client has no file left to open, while the nodes that it is connected to go, and its registry restarts.
pub(super) async fn client_without_files(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::OneThatRemembers).await;
    let mut relay = Relay::start(&laboratory, |command| command).await;
    let nodes = laboratory.nodes([NODES[0], NODES[1]]).await;
    relay.reaches().await;
    let load = relay.load(&setup);
    pass(setup.pace.calm()).await;
    let time = setup.pace.of(Duration::from_secs(4), Duration::from_secs(30));
    let calm = relay.process.processor_part(time).await;
    // Those that are open are more.
    relay.process.limit_files(3);
    laboratory.world.kill();
    drop(nodes);
    laboratory.world.start_again().await;
    let gone = Instant::now();
    let _third = laboratory.node(NODES[2]);
    let spent = relay.process.processor_part(time).await;
    let lives = relay.process.runs();
    relay.process.limit_files(1024);
    let freed = Instant::now();
    relay.reaches().await;
    let again = freed.elapsed();
    // One that it cannot know from before.
    let _fourth = laboratory.node("four");
    laboratory.registered(&[NODES[2], "four"]).await;
    let recovered = Instant::now();
    pass(setup.pace.calm()).await;
    let records = load.stop().await;
    let meanwhile = records
        .failed()
        .filter(|record| record.started > gone && record.ended < freed);
    let (clear, unclear): (Vec<_>, Vec<_>) =
        meanwhile.partition(|record| record.code == Code::Unavailable && record.message.contains(NO_FILES));
    let late = records
        .failed()
        .filter(|record| record.started > recovered)
        .count();
    let executions = laboratory.executions();
    Outcome::new("F38")
        .load(&records, &executions)
        .holds("the process lives", lives)
        .holds("calls fail with what the system says", !clear.is_empty())
        .count("calls that failed with something else", unclear.len(), 0)
        .count("calls that failed once there were files", late, 0)
        .share(
            "of a core more than the load alone takes",
            (spent - calm).max(0.0),
            0.2,
            0.5,
        )
        .seconds(
            "called again once there were files",
            again,
            Duration::from_secs(5),
        )
}

/// F39: a node gets a twentieth of a processor.
pub(super) async fn starved(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let follower = stage.laboratory.follow();
    stage.caller.reaches(&NODES).await;
    let load = hedging(&stage, &setup, setup.pace.plan(Kind::Read));
    pass(setup.pace.calm()).await;
    let picks = Picks::of(stage.caller.channel.clone(), NODES[0]);
    let throttled = Instant::now();
    let throttle = Throttle::new(&stage.nodes[0], 0.05);
    pass(setup.pace.ttl() * 2).await;
    drop(throttle);
    let ended = Instant::now();
    let records = load.stop().await;
    let expired = stage.nodes[0].said("registered again");
    let mut outcome = Outcome::new("F39")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count("changes of the registry", follower.seen.changes(throttled), 0)
        .count("registrations that were lost", expired, 0)
        .time(
            "the slowest call but one in a hundred",
            records.percentile(0.99, throttled, ended),
            setup.pace.plan(Kind::Read).deadline,
        );
    // It answers, if slowly, so that some calls may well go there.
    outcome.avoided = picks.avoided(throttled, ended);
    outcome
}

/// F45: logs go to a disk that is full, or to nobody, and the folder of the settings cannot be written to.
pub(super) async fn disk_full(setup: Setup) -> Outcome {
    let laboratory = Laboratory::start(&setup, Size::One).await;
    let started = |id: &str| {
        let mut command = laboratory.command(id);
        // A line for each frame, so that handlers and connections all meet it.
        command.env("RUST_LOG", "info,h2=debug");
        command
    };
    let full = || {
        Stdio::from(
            File::options()
                .write(true)
                .open("/dev/full")
                .expect("Linux has it"),
        )
    };
    let closed = || Stdio::from(io::pipe().expect("a pipe").1);
    let one = Process::start_saying(&mut started(NODES[0]), full(), full());
    let two = Process::start_saying(&mut started(NODES[1]), closed(), closed());
    let three = Process::start_saying(&mut read_only(&laboratory, &started(NODES[2])), full(), closed());
    laboratory.registered(&NODES).await;
    let caller = laboratory.caller();
    let mut stage = Stage::of(laboratory, [one, two, three], caller);
    stage.caller.reaches(&NODES).await;
    let load = stage.load(&setup).await;
    pass(setup.pace.of(Duration::from_secs(3), Duration::from_secs(30))).await;
    let records = load.stop().await;
    let mut unclean = 0;
    for node in &mut stage.nodes {
        node.signal(Signal::SIGTERM);
    }
    for node in &mut stage.nodes {
        let (status, _) = node.ended(PATIENCE).await;
        unclean += usize::from(!status.success());
    }
    Outcome::new("F45")
        .load(&records, &stage.laboratory.executions())
        .no_failure()
        .count("nodes that did not stop well", unclean, 0)
}

/// The same command, in a folder that cannot be written to.
fn read_only(laboratory: &Laboratory, told: &Command) -> Command {
    let folder = laboratory.folder().join("read-only");
    fs::create_dir(&folder).expect("the folder can be written to");
    fs::copy(laboratory.folder().join("micro.toml"), folder.join("micro.toml")).expect("settings");
    let script = "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && ! touch written 2> /dev/null && exec \"$0\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .arg(told.get_program());
    for (name, value) in told.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(folder);
    command
}

/// A process that is a client of the nodes: it calls them on our behalf.
struct Relay {
    process: Process,
    caller: Caller,
}

impl Relay {
    async fn start(laboratory: &Laboratory, adjust: impl FnOnce(Command) -> Command) -> Self {
        let mut command = adjust(laboratory.command(RELAY));
        let address = format!("127.0.0.1:{}", free_port());
        command
            .env("MICRO_SERVER_NAME", RELAY)
            .env("MICRO_SERVER_ADDRESS", &address);
        let process = Process::start(&mut command);
        // Found without the registry, which is no part of the way to it.
        let registry = format!("{RELAY}={address}")
            .parse::<micro::registry::Static>()
            .expect("a good list");
        let mut caller = Laboratory::caller_of(std::sync::Arc::new(registry), |client| client);
        let channel = caller.client.channel(RELAY).descriptors(FILE_DESCRIPTOR_SET);
        caller.channel = channel.expect("the probe's descriptors decode");
        Self { process, caller }
    }

    fn plan(setup: &Setup) -> Plan {
        Plan {
            rate: setup.pace.of(100, 500),
            ..setup.pace.plan(Kind::Relay)
        }
    }

    fn load(&self, setup: &Setup) -> Load {
        Load::start(self.caller.channel.clone(), Self::plan(setup))
    }

    /// Waits until its calls arrive.
    async fn reaches(&self) {
        wait("the relay's calls arrive", PATIENCE, async || {
            let plan = Plan {
                rate: 50,
                deadline: Duration::from_secs(5),
                work: Duration::ZERO,
                kind: Kind::Relay,
                padding: 0,
            };
            let load = Load::start(self.caller.channel.clone(), plan);
            pass(Duration::from_millis(100)).await;
            let records = load.stop().await;
            records.calls() > 0 && records.failed().count() == 0
        })
        .await;
    }
}
