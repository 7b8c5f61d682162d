//! A loopback address that another host announced: not one connection reaches what listens there on this one.

use std::{fs, io, net::TcpListener, path::Path};

use micro_test_servers::{Consul, Shim};
use micro_tests::laboratory::Namespace;
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    support::{Output, Process, binary, eventually, run, told},
    world::{World, address},
};

/// Where only documentation is, and no host.
const ANOTHER_HOST: &str = "192.0.2.9";

/// How often somebody has connected.
fn connections(listener: &TcpListener) -> usize {
    listener.set_nonblocking(true).unwrap();
    let mut count = 0;
    loop {
        match listener.accept() {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return count;
            }
        }
    }
}

fn is_refused(output: &Output, reason: &str) {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert!(!output.status.success(), "{output:?}");
    assert!(
        said.contains("not called: 127.0.0.1 is a loopback address"),
        "{output:?}"
    );
    assert!(said.contains(reason), "{output:?}");
}

#[tokio::test]
async fn what_consul_holds_at_another_hosts_agent_is_not_called_on_loopback() {
    let consul = Consul::builder().start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let record = json!({
        "Node": "elsewhere",
        "Address": ANOTHER_HOST,
        "Service": {
            "ID": "greeter-1",
            "Service": "greeter",
            "Address": "127.0.0.1",
            "Port": listener.local_addr().unwrap().port(),
        },
        "Check": {"Name": "it lives", "ServiceID": "greeter-1", "Status": "passing"},
    })
    .to_string();
    let put = consul.request(Method::PUT, "catalog/register", &record);
    assert_eq!(put.await.unwrap().0, StatusCode::OK);

    let world = World::Consul(consul);
    let reason = format!("and the record is of another host, {ANOTHER_HOST}");
    for command in [&["call", "greeter", "Say.Hello"][..], &["endpoints", "greeter"]] {
        is_refused(&world.micro(command), &reason);
    }
    assert_eq!(connections(&listener), 0);
}

/// What tells of the registry on another host, and the door through which it is reached from there.
async fn told_elsewhere(world: &World, elsewhere: &Namespace) -> (Vec<(&'static str, String)>, Shim) {
    let mut variables = world.variables();
    let (_, registry) = variables
        .iter_mut()
        .find(|(name, _)| *name == "MICRO_REGISTRY_ADDRESS")
        .unwrap();
    let door = format!("{}:0", elsewhere.registry()).parse().unwrap();
    let shim = Shim::listen(door, registry.as_str()).await.unwrap();
    *registry = shim.address();
    (variables, shim)
}

/// Two hosts: this one, where the registry is and a node that announces a loopback address, and one where something else
/// listens at that address and a client looks into the registry.
async fn what_is_announced_here_is_not_called_there(world: &World) {
    let greeter = world.start("greeter", &[]);
    greeter.wait_for("it is registered", |line| line.contains(": registered "));
    let call = ["call", "greeter", "Say.Hello", r#"{"name":"Ada"}"#];
    let called = world.micro(&call);
    assert_eq!(called.stdout.trim(), r#"{"message":"Hello Ada"}"#, "{called:?}");

    let elsewhere = Namespace::make();
    let listener = elsewhere.listen(address(&greeter).parse().unwrap());
    let (mut variables, _shim) = told_elsewhere(world, &elsewhere).await;
    let reason = format!(
        "and the registry, at {}, is not on this host",
        elsewhere.registry()
    );
    for command in [&call[..], &["endpoints", "greeter"]] {
        let mut there = elsewhere.command(&told("micro", &variables));
        is_refused(&run(there.args(command)), &reason);
    }
    assert_eq!(connections(&listener), 0);

    // Nothing else was in the way.
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("micro.toml");
    fs::write(&settings, "[client]\nallow = [\"loopback\"]\n").unwrap();
    variables.push(("MICRO_CONFIG", settings.display().to_string()));
    let mut there = elsewhere.command(&told("micro", &variables));
    let output = run(there.args(["endpoints", "greeter"]));
    assert!(connections(&listener) > 0, "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_address_in_a_consul_elsewhere_is_not_called() {
    what_is_announced_here_is_not_called_there(&World::consul().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loopback_address_in_an_etcd_elsewhere_is_not_called() {
    what_is_announced_here_is_not_called_there(&World::etcd().await).await;
}

/// A package that is built at once: it runs the greeter of the tests.
fn package(folder: &Path) {
    fs::create_dir(folder.join("src")).unwrap();
    let manifest = "[package]\nname = \"greeter\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let main = format!(
        "use std::{{os::unix::process::CommandExt, process::Command}};\n\
         fn main() {{\n    panic!(\"{{}}\", Command::new({:?}).exec());\n}}\n",
        binary("greeter")
    );
    fs::write(folder.join("src/main.rs"), main).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_micro_run_starts_is_called_by_its_gateway_though_the_registry_is_elsewhere() {
    let world = World::consul().await;
    let elsewhere = Namespace::make();
    let (mut variables, _shim) = told_elsewhere(&world, &elsewhere).await;
    let folder = tempfile::tempdir().unwrap();
    package(folder.path());

    let mut told_there = told("micro", &variables);
    told_there
        .env("CARGO_TARGET_DIR", folder.path().join("target"))
        .current_dir(folder.path());
    let mut there = elsewhere.command(&told_there);
    let run_there = Process::start(there.args(["run", "--no-watch", "--gateway", "0.0.0.0:0"]));
    let line = run_there.wait_for("the gateway is ready", |line| {
        line.contains("HTTP and JSON are at")
    });
    let (_, rest) = line.split_once("http://0.0.0.0:").unwrap();
    let (port, _) = rest.split_once(',').unwrap();
    let gateway = format!("{}:{port}", elsewhere.inside());
    eventually("the gateway finds the greeter", async || {
        crate::gateway::ask(&gateway).await.is_ok()
    })
    .await;

    // Who types something else there has to say that it is on the same host.
    let call = ["call", "greeter", "Say.Hello", r#"{"name":"Ada"}"#];
    let mut there = elsewhere.command(&told("micro", &variables));
    is_refused(
        &run(there.args(call)),
        "is not on this host; if the node is on this host, let it",
    );
    variables.push(("MICRO_CLIENT_OWN_LOOPBACK", "true".to_owned()));
    let mut there = elsewhere.command(&told("micro", &variables));
    let called = run(there.args(call));
    assert_eq!(called.stdout.trim(), r#"{"message":"Hello Ada"}"#, "{called:?}");
}
