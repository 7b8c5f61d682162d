//! Whom the system trusts, in programs of their own, as that is said by the environment.

use std::{
    env,
    process::{Command, Output},
};

use micro::Client;

use crate::{
    NODE,
    support::{Authority, World, call, failed},
};

/// Runs the test `name` as a program that calls the node of `world`, and trusts whom the file `trusted` says.
async fn program(world: &World, name: &str, port: u16, trusted: &str) -> Output {
    let config = "[client]\nconnect_timeout = '30s'\n[client.tls]\nsystem_authorities = true\n";
    world.write("client.toml", config);
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", name])
        .env("MICRO_CONFIG", world.file("client.toml"))
        .env("MICRO_REGISTRY", "static")
        .env("MICRO_REGISTRY_ADDRESS", format!("greeter=127.0.0.1:{port}"))
        .env("SSL_CERT_FILE", world.file(trusted))
        .env_remove("SSL_CERT_DIR");
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "it is a part of another test, which runs it as a program"]
async fn a_program_that_calls() {
    call(&Client::from_env().unwrap()).await.unwrap();
}

#[tokio::test]
#[ignore = "it is a part of another test, which runs it as a program"]
async fn a_program_that_gets_nowhere() {
    panic!("it failed: {}", failed(&Client::from_env().unwrap()).await);
}

#[tokio::test]
async fn nodes_are_called_whose_certificate_is_signed_by_whom_the_system_trusts() {
    let mut world = World::new();
    let (address, _) = world.start("greeter", NODE).await;
    world.write("other.pem", &Authority::new().pem());
    world.write("empty.pem", "");
    for (name, trusted, told) in [
        ("a_program_that_calls", "ca.pem", "1 passed"),
        ("a_program_that_gets_nowhere", "other.pem", "UnknownIssuer"),
        ("a_program_that_calls", "empty.pem", "read whom the system trusts"),
        ("a_program_that_calls", "none.pem", "read whom the system trusts"),
    ] {
        let ended = program(&world, &format!("system::{name}"), address.port(), trusted).await;
        let (said, warned) = (
            String::from_utf8_lossy(&ended.stdout),
            String::from_utf8_lossy(&ended.stderr),
        );
        assert!(
            said.contains(told) || warned.contains(told),
            "{trusted}: {said}\n{warned}"
        );
        assert_eq!(ended.status.success(), trusted == "ca.pem", "{trusted}");
    }
}
