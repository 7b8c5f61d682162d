//! A registry that is not there, or refuses: what services wait for, what they end for, and what callers are told.

use std::time::{Duration, Instant};

use micro_test_servers::{Consul, Etcd};
use nix::sys::signal::Signal;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::{
    support::{Load, eventually, hello, reached, run, told},
    world::{World, address, health, page},
};

/// Ten times what is promised between a registry that appears and a node in it.
const REGISTERED_MAX: Duration = Duration::from_secs(70);
/// Ten times what a call may take by default.
const CALL_MAX: Duration = Duration::from_secs(50);
/// `drain_delay` + `drain_timeout` + 1 s, by default.
const STOP_MAX: Duration = Duration::from_secs(2 + 20 + 1);
const WARNING: &str = "not registered, so not ready; trying again";

async fn a_service_waits_for(world: &World) {
    world.kill();
    let mut service = world.start("greeter", &[("MICRO_SERVER_ID", "one")]);
    let started = Instant::now();
    let address = address(&service);
    service.wait_for("it warns", |line| line.contains(WARNING));
    assert_eq!(page(&address, "/health"), 200);
    assert_eq!(page(&address, "/ready"), 503);
    assert_eq!(health(&address).await, ServingStatus::NotServing);

    // Callers are told why, in time.
    let call = Instant::now();
    let status = hello(&world.client().channel("greeter")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("refused"), "{status:?}");
    assert!(call.elapsed() < CALL_MAX, "{:?}", call.elapsed());
    let call = world.micro(&["call", "greeter", "Say.Hello"]);
    assert!(!call.status.success(), "{call:?}");
    assert!(call.stderr.contains("refused"), "{call:?}");

    assert_eq!(page(&address, "/ready"), 503);
    let warnings = service
        .output()
        .lines()
        .filter(|line| line.contains(WARNING))
        .count();
    let allowed = 1 + usize::try_from(started.elapsed().as_secs() / 10).unwrap();
    assert!((1..=allowed).contains(&warnings), "{}", service.output());
    assert!(
        !service.output().contains(": registered "),
        "{}",
        service.output()
    );

    world.start_again().await;
    let appeared = Instant::now();
    service.wait_for("it is registered", |line| line.contains(": registered "));
    assert!(appeared.elapsed() < REGISTERED_MAX, "{:?}", appeared.elapsed());
    eventually("it is ready", async || page(&address, "/ready") == 200).await;
    assert_eq!(health(&address).await, ServingStatus::Serving);
    reached(&world.client().channel("greeter"), 1).await;
    service.signal(Signal::SIGTERM);
    let (status, _) = service.wait_for_end();
    assert!(status.success(), "{}", service.output());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_waits_for_consul_and_registers_when_it_comes() {
    a_service_waits_for(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_waits_for_etcd_and_registers_when_it_comes() {
    a_service_waits_for(&World::etcd().await).await;
}

async fn a_service_stops_without(world: &World) {
    let mut leaving = world.start("greeter", &[("MICRO_SERVER_ID", "one")]);
    let staying = world.start("greeter", &[("MICRO_SERVER_ID", "two")]);
    for service in [&leaving, &staying] {
        service.wait_for("it is registered", |line| line.contains(": registered "));
    }
    let client = world.client();
    let channel = client.channel("greeter");
    reached(&channel, 2).await;
    let load = Load::start(channel.clone(), 50);
    world.kill();
    leaving.signal(Signal::SIGTERM);
    let (leaving, (status, took)) = tokio::task::spawn_blocking(move || {
        let end = leaving.wait_for_end();
        (leaving, end)
    })
    .await
    .unwrap();
    assert!(took <= STOP_MAX, "{took:?}: {}", leaving.output());
    assert!(status.success(), "{status}: {}", leaving.output());
    reached(&channel, 1).await;
    let made = load.stop().await;
    let failed: Vec<_> = made.iter().filter(|call| call.result.is_err()).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert!(!made.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_stops_in_time_and_loses_no_call_while_consul_is_away() {
    a_service_stops_without(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_stops_in_time_and_loses_no_call_while_etcd_is_away() {
    a_service_stops_without(&World::etcd().await).await;
}

#[tokio::test]
async fn what_no_waiting_makes_right_ends_a_service_at_once_and_shows_no_secret() {
    let consul = World::Consul(Consul::builder().rights().start().await.unwrap());
    let etcd = World::Etcd(Etcd::builder().users().start().await.unwrap());
    let secret = "5ec7e700-1111-4000-8000-000000000000";
    for (world, variable, value, expected) in [
        (&consul, "CONSUL_HTTP_TOKEN", secret, "register node"),
        (&consul, "CONSUL_CACERT", "no/such/ca.pem", "no/such/ca.pem"),
        (&etcd, "ETCD_PASSWORD", secret, "register node"),
        (&etcd, "ETCDCTL_CACERT", "no/such/ca.pem", "no/such/ca.pem"),
        (
            &consul,
            "MICRO_REGISTRY_ADDRESS",
            "unix:///x",
            "expected is host:port",
        ),
        (
            &etcd,
            "MICRO_REGISTRY_ADDRESS",
            "unix:///x",
            "expected is host:port",
        ),
    ] {
        let mut service = world.start("greeter", &[(variable, value)]);
        let (status, _) = service.wait_for_end();
        let said = service.output();
        assert!(!status.success(), "{variable}: {said}");
        assert!(said.contains(expected), "{variable}: {said}");
        assert!(!said.contains(secret), "{variable}: {said}");
        assert!(!said.contains(WARNING), "{variable}: {said}");
        let call = Instant::now();
        let output = run(told("micro", &world.variables())
            .arg("services")
            .env(variable, value));
        assert!(!output.status.success(), "{variable}: {output:?}");
        assert!(!output.stderr.contains(secret), "{variable}: {output:?}");
        assert!(call.elapsed() < CALL_MAX, "{variable}: {:?}", call.elapsed());
    }
}
