//! What is wrong at the start: one clear message, an exit code other than 0, and nothing stays registered.

use std::net::TcpListener;

use crate::support::{Network, Process, binary, root};

/// Starts a greeter that must fail, and gives what it said.
fn fails(network: &Network, environment: &[(&str, &str)]) -> String {
    let mut command = network.command("greeter");
    command.envs(environment.iter().copied()).env_remove("RUST_LOG");
    let mut process = Process::start(&mut command);
    let (status, _) = process.wait_for_end();
    let said = process.output();
    assert!(!status.success(), "{status}: {said}");
    let services = network.micro(&["services"]);
    assert!(
        !services.stdout.contains("greeter"),
        "something stays registered: {services:?}"
    );
    said
}

#[test]
fn a_port_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = fails(&Network::new(), &[("MICRO_SERVER_ADDRESS", &address)]);
    assert!(
        said.contains(&address) && said.to_lowercase().contains("in use"),
        "{said}"
    );
    assert_eq!(said.matches(&address).count(), 1, "said once: {said}");
}

#[test]
fn an_unknown_registry() {
    let said = fails(&Network::new(), &[("MICRO_REGISTRY", "zookeeper")]);
    for part in ["zookeeper", "MICRO_REGISTRY", "mdns", "static", "memory"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_bad_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("micro.toml");
    std::fs::write(&file, "[server]\ndrain_dely = \"2s\"\n").unwrap();
    let said = fails(&Network::new(), &[("MICRO_CONFIG", file.to_str().unwrap())]);
    for part in ["drain_dely", "drain_delay", "micro.toml"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_bad_value() {
    let said = fails(&Network::new(), &[("MICRO_REGISTER_TTL", "soon")]);
    for part in ["MICRO_REGISTER_TTL", "soon", "30s"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn an_address_that_cannot_be_advertised() {
    let said = fails(&Network::new(), &[("MICRO_SERVER_ADVERTISE", "0.0.0.0:80")]);
    assert!(
        said.contains("MICRO_SERVER_ADVERTISE") && said.contains("0.0.0.0"),
        "{said}"
    );
}

#[test]
fn a_folder_that_is_no_package() {
    let folder = tempfile::tempdir().unwrap();
    let output = Network::new().micro(&["run", folder.path().to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(output.stderr.contains("Cargo.toml"), "{output:?}");
}

#[test]
fn a_build_without_a_registry_says_which_feature_to_switch_on() {
    // Built alone, in a folder of its own: in the workspace's, features of other packages would be on, too.
    let target = root().join("target/alone");
    let built = std::process::Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "-p",
            "micro-cli",
            "--no-default-features",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(root())
        .status()
        .unwrap();
    assert!(built.success());
    let micro = target.join("debug").join(binary("micro").file_name().unwrap());
    for registry in ["mdns", "consul", "etcd"] {
        let output = std::process::Command::new(&micro)
            .arg("services")
            .env("MICRO_REGISTRY", registry)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains("is not in this build"), "{said}");
        assert!(
            said.contains(&format!("switch on the feature \"{registry}\" of micro-rs")),
            "{said}"
        );
    }
}
