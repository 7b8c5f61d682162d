//! Several processes on one host: what one announces the others find, however it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use micro_registry::{Node, Registry, Snapshot, Watcher};
use micro_registry_mdns::Mdns;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    signal::unix::{SignalKind, signal},
    time,
};

/// Longer than any test.
const TTL: Duration = Duration::from_secs(900);
/// No test waits longer for what must come, although all of it comes much sooner on an idle machine.
const LIMIT: Duration = Duration::from_secs(120);
/// What a process writes in front of its answers, among the lines of the test's own frame.
const ANSWER: &str = "> ";

/// A process that announces nodes; it is killed when this is dropped.
struct Announcer {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Announcer {
    /// Starts a process and waits until it has registered nodes of `service` with the ids.
    async fn start(port: u16, service: &str, ids: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_announces", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut announcer = Self {
            orders: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()).lines(),
            child,
        };
        let order = format!("{port} {service} {}\n", ids.join(" "));
        announcer.orders.write_all(order.as_bytes()).await.unwrap();
        announcer.answered("registered").await;
        announcer
    }

    async fn answered(&mut self, wanted: &str) {
        let wanted = format!("{ANSWER}{wanted}");
        let answer = async {
            while let Some(line) = self.answers.next_line().await.unwrap() {
                // The frame's own line may stand in front.
                if line.ends_with(&wanted) {
                    return;
                }
            }
            panic!("the process has ended");
        };
        time::timeout(LIMIT, answer).await.expect("an answer in time");
    }

    fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("the process runs");
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }
}

/// What an [`Announcer`] runs: it registers what its first line says, and deregisters it at SIGTERM.
#[tokio::test]
#[ignore = "the other tests start it in a process of its own"]
async fn a_process_that_announces() {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let mut orders = BufReader::new(tokio::io::stdin()).lines();
    let Some(order) = orders.next_line().await.unwrap() else {
        return;
    };
    let mut words = order.split(' ');
    let registry = registry(words.next().unwrap().parse().unwrap());
    let service = words.next().unwrap();
    let boot = format!("{:016x}", fastrand::u64(..));
    let nodes: Vec<_> = words.map(|id| node(service, id, &boot)).collect();
    for node in &nodes {
        registry.register(node, TTL).await.unwrap();
    }
    println!("{ANSWER}registered");
    tokio::select! {
        _ = terminated.recv() => {}
        // The end of the test that started this process.
        _ = orders.next_line() => {}
    }
    for node in &nodes {
        registry.deregister(node).await.unwrap();
    }
    println!("{ANSWER}deregistered");
}

fn registry(port: u16) -> Mdns {
    Mdns::builder()
        .address(format!("127.0.0.1:{port}"))
        .build()
        .unwrap()
}

/// A port below those that the system gives to others, for one test alone.
fn port() -> u16 {
    fastrand::u16(10_000..20_000)
}

fn node(service: &str, id: &str, boot: &str) -> Node {
    Node::builder(service.parse().unwrap(), id, "127.0.0.1:9090".parse().unwrap())
        .boot(boot)
        .build()
        .unwrap()
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().iter().map(|node| node.id()).collect()
}

async fn until(watcher: &mut Watcher, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let mut last = None;
    let find = async {
        loop {
            let snapshot = watcher.next().await.expect("the watch goes on").unwrap();
            if wanted(&snapshot) {
                return snapshot;
            }
            last = Some(snapshot);
        }
    };
    match time::timeout(LIMIT, find).await {
        Ok(snapshot) => snapshot,
        Err(_) => panic!("not in time; the last snapshot was {last:?}"),
    }
}

#[tokio::test]
async fn a_process_that_ends_well_or_is_killed_is_gone() {
    let port = port();
    let mut terminated = Announcer::start(port, "greeter", &["a"]).await;
    let killed = Announcer::start(port, "greeter", &["b", "c"]).await;
    let registry = registry(port);
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert_eq!(ids(&until(&mut watcher, |_| true).await), ["a", "b", "c"]);
    terminated.signal(Signal::SIGTERM);
    terminated.answered("deregistered").await;
    until(&mut watcher, |snapshot| ids(snapshot) == ["b", "c"]).await;
    killed.signal(Signal::SIGKILL);
    until(&mut watcher, Snapshot::is_empty).await;
}

#[tokio::test]
async fn a_process_that_was_stopped_for_a_while_is_back_when_it_goes_on() {
    let port = port();
    let stopped = Announcer::start(port, "greeter", &["a"]).await;
    let registry = registry(port);
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert_eq!(ids(&until(&mut watcher, |_| true).await), ["a"]);
    stopped.signal(Signal::SIGSTOP);
    until(&mut watcher, Snapshot::is_empty).await;
    stopped.signal(Signal::SIGCONT);
    until(&mut watcher, |snapshot| ids(snapshot) == ["a"]).await;
}

#[tokio::test]
async fn a_killed_node_is_back_under_its_id_as_soon_as_it_starts_again() {
    let port = port();
    let registry = registry(port);
    let first = Announcer::start(port, "greeter", &["a"]).await;
    let mut watcher = registry.watch("greeter").await.unwrap();
    let old = until(&mut watcher, |snapshot| ids(snapshot) == ["a"]).await;
    first.signal(Signal::SIGKILL);
    let _second = Announcer::start(port, "greeter", &["a"]).await;
    let new = until(&mut watcher, |snapshot| *snapshot != old).await;
    assert_eq!(ids(&new), ["a"], "the old announcement hides under the new one");
    // The old announcement goes, and takes nothing along.
    let mut other = registry.watch("greeter").await.unwrap();
    assert_eq!(until(&mut other, |_| true).await, new);
}

#[tokio::test]
async fn whoever_comes_late_finds_all_services_of_all_processes() {
    let port = port();
    let services = ["greeter", "greeter-v2", "orders"];
    let mut processes = Vec::new();
    for number in 0..12 {
        let ids = [format!("{number}-a"), format!("{number}-b")];
        let service = services[number % services.len()];
        processes.push(Announcer::start(port, service, &ids.each_ref().map(String::as_str)).await);
    }
    let registry = registry(port);
    assert_eq!(registry.list_services().await.unwrap(), services);
    for (at, service) in services.iter().enumerate() {
        let numbers = (0..12).filter(|number| number % services.len() == at);
        let expected: BTreeSet<_> = numbers
            .flat_map(|n| [format!("{n}-a"), format!("{n}-b")])
            .collect();
        let mut watcher = registry.watch(service).await.unwrap();
        until(&mut watcher, |snapshot| {
            snapshot
                .nodes()
                .iter()
                .map(|node| node.id().to_owned())
                .collect::<BTreeSet<_>>()
                == expected
        })
        .await;
    }
}
