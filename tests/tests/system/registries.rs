//! One binary of each program works with every registry: nothing but the environment changes.

use micro_test_servers::{Consul, Etcd};
use nix::sys::signal::Signal;

use crate::{
    support::{Network, wait},
    world::World,
};

/// Three nodes and a service that calls them are found, called, described and asked, and leave nothing behind.
fn works(world: &World) {
    let ids = ["one", "two", "three"];
    let greeters = ids.map(|id| world.start("greeter", &[("MICRO_SERVER_ID", id)]));
    let mut processes = Vec::from(greeters);
    processes.push(world.start("welcome", &[]));
    for process in &processes {
        process.wait_for("it is registered", |line| line.contains(": registered "));
    }
    // Consul and etcd tell other hosts of an address that is of no use there.
    let is_warned = |line: &str| line.contains("other hosts find this address");
    let warnings = usize::from(!matches!(world, World::Mdns(_)));
    for process in &processes {
        let said = process.output();
        let found = said.lines().filter(|line| is_warned(line)).count();
        assert_eq!(found, warnings, "{said}");
    }
    wait("all nodes are found and serve", || {
        let health = world.micro(&["health", "greeter"]);
        let serves = |id: &str| {
            let mut lines = health.stdout.lines();
            lines.any(|line| line.starts_with(id) && line.ends_with(" SERVING"))
        };
        health.status.success() && ids.into_iter().all(serves)
    })
    .unwrap();

    for _ in 0..3 {
        let call = world.micro(&["call", "greeter", "Say.Hello", r#"{"name":"Ada"}"#]);
        assert_eq!(call.stdout.trim(), r#"{"message":"Hello Ada"}"#, "{call:?}");
    }
    let services = world.micro(&["services"]);
    for service in ["greeter", "welcome"] {
        assert!(
            services.stdout.lines().any(|line| line.starts_with(service)),
            "{services:?}"
        );
    }
    let describe = world.micro(&["describe", "greeter"]);
    for method in ["Hello", "Greetings"] {
        assert!(describe.stdout.contains(method), "{describe:?}");
    }
    let call = world.micro(&["call", "welcome", "Reception.Welcome", r#"{"name":"Ada"}"#]);
    assert!(call.stdout.contains("Hello Ada, welcome"), "{call:?}");
    assert!(
        ids.iter().any(|id| call.stdout.contains(&format!("\"{id}\""))),
        "{call:?}"
    );

    for process in &processes {
        process.signal(Signal::SIGTERM);
    }
    for process in &mut processes {
        let (status, _) = process.wait_for_end();
        assert!(status.success(), "{}", process.output());
    }
    wait("no service is left", || {
        let services = world.micro(&["services"]);
        assert!(services.status.success(), "{services:?}");
        let is_ours = |line: &str| line.starts_with("greeter") || line.starts_with("welcome");
        !services.stdout.lines().any(is_ours)
    })
    .unwrap();
}

#[test]
fn the_programs_work_with_mdns() {
    works(&World::Mdns(Network::new()));
}

#[tokio::test]
async fn the_programs_work_with_consul() {
    works(&World::consul().await);
}

#[tokio::test]
async fn the_programs_work_with_consul_with_rights_over_mutual_tls() {
    let consul = Consul::builder().rights().tls().start().await.unwrap();
    works(&World::Consul(consul));
}

#[tokio::test]
async fn the_programs_work_with_etcd() {
    works(&World::etcd().await);
}

#[tokio::test]
async fn the_programs_work_with_etcd_with_users_over_mutual_tls() {
    let etcd = Etcd::builder().users().tls().start().await.unwrap();
    works(&World::Etcd(etcd));
}
