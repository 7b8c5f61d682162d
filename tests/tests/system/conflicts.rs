//! Two processes with one fixed id: the one that holds it is not disturbed, and gets it back after it was killed.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    support::{Load, hello, reached},
    world::{World, address, page},
};

const TTL: Duration = Duration::from_secs(10);
const FIXED: [(&str, &str); 2] = [("MICRO_SERVER_ID", "fixed"), ("MICRO_REGISTER_TTL", "10s")];
const WARNING: &str = "another node has this id";

async fn the_newcomer_gives_up(world: &World) {
    let holder = world.start("greeter", &FIXED);
    holder.wait_for("it is registered", |line| line.contains(": registered "));
    let held = address(&holder);
    let client = world.client();
    let channel = client.channel("greeter");
    reached(&channel, 1).await;
    let load = Load::start(channel.clone(), 50);

    let started = Instant::now();
    let mut newcomer = world.start("greeter", &FIXED);
    let refused = address(&newcomer);
    newcomer.wait_for("it warns", |line| line.contains(WARNING));
    assert_eq!((page(&refused, "/ready"), page(&refused, "/health")), (503, 200));
    let (newcomer, (status, _)) = tokio::task::spawn_blocking(move || {
        let end = newcomer.wait_for_end();
        (newcomer, end)
    })
    .await
    .unwrap();
    assert!(!status.success(), "{}", newcomer.output());
    assert!(started.elapsed() >= 2 * TTL, "{:?}", started.elapsed());
    let told = "give up to register node `fixed` of `greeter`";
    assert!(newcomer.output().contains(told), "{}", newcomer.output());
    assert!(
        !newcomer.output().contains(": registered "),
        "{}",
        newcomer.output()
    );

    let made = load.stop().await;
    let failed: Vec<_> = made.iter().filter(|call| call.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let peers = made.iter().flat_map(|call| &call.result);
    let strangers = peers.filter(|peer| peer.address().to_string() != held);
    assert_eq!(strangers.count(), 0, "all calls went to the holder");
    assert_eq!(page(&held, "/ready"), 200);
    // A registry of other hosts is warned of once, at the start; nothing else is.
    let warnings = holder.output();
    let warnings = warnings.lines().filter(|line| line.contains(" WARN "));
    assert_eq!(warnings.count(), 1, "{}", holder.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_second_to_an_id_in_consul_gives_up_and_the_first_loses_no_call() {
    the_newcomer_gives_up(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_second_to_an_id_in_etcd_gives_up_and_the_first_loses_no_call() {
    the_newcomer_gives_up(&World::etcd().await).await;
}

async fn the_killed_gets_its_record_back(world: &World) {
    let mut killed = world.start("greeter", &FIXED);
    killed.wait_for("it is registered", |line| line.contains(": registered "));
    killed.signal(Signal::SIGKILL);
    killed.wait_for_end();
    let restarted = world.start("greeter", &FIXED);
    restarted.wait_for("it is registered", |line| line.contains(": registered "));
    let address = address(&restarted);
    let client = world.client();
    let channel = client.channel("greeter");
    reached(&channel, 1).await;
    assert_eq!(hello(&channel).await.unwrap().address().to_string(), address);
    assert_eq!(client.snapshot("greeter").await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_fixed_id_that_was_killed_gets_its_record_in_consul_back() {
    the_killed_gets_its_record_back(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_fixed_id_that_was_killed_gets_its_record_in_etcd_back() {
    the_killed_gets_its_record_back(&World::etcd().await).await;
}
