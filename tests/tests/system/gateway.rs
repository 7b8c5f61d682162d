//! The gateway in front of nodes that stop, start again and are killed: no request of HTTP fails.

use std::{sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::{MissedTickBehavior, interval},
};

use crate::{
    support::{Process, eventually, told},
    world::World,
};

/// A second, divided by so many requests.
const REQUESTS_PER_SECOND: u32 = 200;

/// A gateway to the greeter, which found its registry by its environment.
struct Gateway {
    process: Process,
    address: String,
}

impl Gateway {
    async fn start(world: &World) -> Self {
        let mut command = told("micro", &world.variables());
        let process = Process::start(command.args(["gateway", "greeter", "--address", "127.0.0.1:0"]));
        let line = process.wait_for("the gateway answers", |line| line.contains("micro: http://"));
        let (_, rest) = line.split_once("http://").unwrap();
        let address = rest.split_whitespace().next().unwrap();
        let gateway = Self {
            address: address.to_owned(),
            process,
        };
        eventually("the gateway finds a greeter", async || {
            gateway.ask().await.is_ok()
        })
        .await;
        gateway
    }

    async fn ask(&self) -> Result<(), String> {
        ask(&self.address).await
    }

    /// Sends requests at a fixed rate, whether or not the answers keep up.
    fn load(&self) -> Load {
        let (address, stop) = (self.address.clone(), Arc::new(Notify::new()));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / REQUESTS_PER_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut running = JoinSet::new();
            loop {
                tokio::select! {
                    biased;
                    () = stopped.notified() => break,
                    _ = ticks.tick() => {
                        let address = address.clone();
                        running.spawn(async move { ask(&address).await });
                    }
                }
            }
            running.join_all().await
        });
        Load { stop, task }
    }
}

/// One request on a connection of its own; what went wrong, if anything did.
pub(crate) async fn ask(address: &str) -> Result<(), String> {
    let body = r#"{"name":"Ada"}"#;
    let request = format!(
        "POST /greeter/say/hello HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    match exchange.await {
        Ok(answer) if answer.starts_with("HTTP/1.1 200") && answer.contains("Hello Ada") => Ok(()),
        Ok(answer) => Err(answer),
        Err(error) => Err(error.to_string()),
    }
}

struct Load {
    stop: Arc<Notify>,
    task: JoinHandle<Vec<Result<(), String>>>,
}

impl Load {
    /// Ends the load: no request may have failed.
    async fn holds(self) {
        self.stop.notify_one();
        let made = self.task.await.unwrap();
        let failures: Vec<_> = made.iter().filter_map(|made| made.as_ref().err()).collect();
        assert!(made.len() > 100, "{} requests", made.len());
        assert!(
            failures.is_empty(),
            "{} of {} failed: {}",
            failures.len(),
            made.len(),
            failures[0]
        );
    }
}

fn node(world: &World, id: &str) -> Process {
    let process = world.start("greeter", &[("MICRO_SERVER_ID", id)]);
    process.wait_for("it is registered", |line| line.contains(": registered "));
    process
}

/// The gateway calls this node, or does not any more.
async fn knows(world: &World, id: &str, is_known: bool) {
    eventually("the node is found, or no longer", async || {
        let snapshot = world.client().snapshot("greeter").await;
        snapshot.is_ok_and(|snapshot| snapshot.nodes().iter().any(|node| node.id() == id) == is_known)
    })
    .await;
}

async fn loses_nothing(world: &World) {
    let mut nodes: Vec<_> = ["n0", "n1", "n2"].map(|id| node(world, id)).into();
    let gateway = Gateway::start(world).await;
    let load = gateway.load();
    // Each makes room for another, one after the other.
    for (at, place) in nodes.iter_mut().enumerate() {
        let id = format!("n{at}-again");
        let mut old = std::mem::replace(place, node(world, &id));
        knows(world, &id, true).await;
        old.signal(Signal::SIGTERM);
        let (status, _) = tokio::task::spawn_blocking(move || old.wait_for_end())
            .await
            .unwrap();
        assert!(status.success());
        knows(world, &format!("n{at}"), false).await;
    }
    // And one is killed with what it had begun: the method changes nothing, so that another may be asked.
    nodes[0].signal(Signal::SIGKILL);
    let mut again = node(world, "n3");
    knows(world, "n3", true).await;
    for _ in 0..200 {
        gateway.ask().await.unwrap();
    }
    load.holds().await;
    // It is a service like any other.
    let services = world.client().services().await.unwrap();
    assert!(
        services.iter().any(|service| service == "gateway"),
        "{services:?}"
    );
    let mut process = gateway.process;
    process.signal(Signal::SIGTERM);
    assert!(process.wait_for_end().0.success(), "{}", process.output());
    again.signal(Signal::SIGTERM);
    assert!(again.wait_for_end().0.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_side_by_side_one_goes_on_when_the_other_is_killed() {
    let world = World::consul().await;
    let _greeters = ["n0", "n1"].map(|id| node(&world, id));
    let (mut one, other) = (Gateway::start(&world).await, Gateway::start(&world).await);
    eventually("both are registered", async || {
        let snapshot = world.client().snapshot("gateway").await;
        snapshot.is_ok_and(|snapshot| snapshot.len() == 2)
    })
    .await;
    let load = other.load();
    for _ in 0..100 {
        one.ask().await.unwrap();
    }
    one.process.signal(Signal::SIGKILL);
    one.process.wait_for_end();
    for _ in 0..200 {
        other.ask().await.unwrap();
    }
    load.holds().await;
    assert!(one.ask().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_with_consul() {
    loses_nothing(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_with_etcd() {
    loses_nothing(&World::etcd().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_with_mdns() {
    loses_nothing(&World::Mdns(crate::support::Network::new())).await;
}
