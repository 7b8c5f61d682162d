//! The main job: run nodes, find them, call them, and leave nothing behind.

use std::time::Instant;

use nix::sys::signal::Signal;

use crate::support::{Network, binary, root, wait};

#[test]
fn two_nodes_run_and_a_second_terminal_calls_them() {
    let network = Network::new();
    let mut run = network.run_greeter(2);

    let call = network.micro(&["call", "greeter", "Say.Hello", r#"{"name":"Ada"}"#]);
    assert!(call.status.success(), "{call:?}");
    assert_eq!(call.stdout.trim(), r#"{"message":"Hello Ada"}"#);

    let services = network.micro(&["services"]);
    assert!(services.stdout.contains("greeter"), "{services:?}");
    let describe = network.micro(&["describe", "greeter"]);
    assert!(
        describe.stdout.contains("Hello") && describe.stdout.contains("Greetings"),
        "{describe:?}"
    );
    let health = network.micro(&["health", "greeter"]);
    assert!(
        health.status.success() && health.stdout.contains("SERVING"),
        "{health:?}"
    );
    let stream = network.micro(&["call", "greeter", "Greetings", r#"{"name":"Ada","count":3}"#]);
    assert_eq!(stream.stdout.lines().count(), 3, "{stream:?}");

    run.signal(Signal::SIGINT);
    let (status, _) = run.wait_for_end();
    let ended = Instant::now();
    assert!(status.success(), "{status}: {}", run.output());
    wait("no service is left", || {
        let services = network.micro(&["services"]);
        assert!(services.status.success(), "{services:?}");
        services.stdout.is_empty() && services.stderr.contains("no services")
    })
    .unwrap();
    // The promise is 3 s; a busy machine gets ten times as much.
    assert!(ended.elapsed().as_secs() < 30, "{:?}", ended.elapsed());
}

#[test]
fn the_printed_next_step_can_be_pasted() {
    let network = Network::new();
    let run = network.run_greeter(1);
    let line = run.wait_for("the next step", |line| line.contains(" call greeter "));
    let from = line
        .find("micro call")
        .or_else(|| line.find("cargo run"))
        .unwrap_or_else(|| panic!("{line}"));
    let folder = binary("micro").parent().unwrap().to_owned();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell
        .arg("-c")
        .arg(&line[from..])
        .env("PATH", path)
        .env("MICRO_REGISTRY_ADDRESS", &network.address);
    let output = shell.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "`{}`: {output:?}", &line[from..]);
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("message"),
        "{output:?}"
    );
}
