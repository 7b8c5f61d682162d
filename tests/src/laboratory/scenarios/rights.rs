//! Consul's own ways to fail: a token is replaced, a right is lost, and all connections are taken.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{
    super::{Laboratory, Outcome, PATIENCE, Setup, Size, World, pass, wait},
    NODES,
    outage::Stage,
};

/// What a service needs.
const ALL_SERVICES: &str = r#"service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }"#;
/// What is left of it when it may not read.
const NOTHING: &str = r#"service "other" { policy = "read" } node_prefix "" { policy = "read" }"#;
/// What an agent allows one address.
const CONNECTIONS_MAX: usize = 200;

/// F25: the token is replaced, first in Consul and then in its file.
pub(super) async fn token_replaced(setup: Setup) -> Outcome {
    let (world, folder) = with_token(&setup, ALL_SERVICES).await;
    let file = folder.path().join("token");
    let stage = Stage::on(Laboratory::with(&setup, world)).await;
    let load = stage.load(&setup).await;
    let revoked = Instant::now();
    let old = fs::read_to_string(&file).expect("the token");
    forget(&stage.laboratory.world, &old).await;
    // Every registration runs out, as nobody can renew it. Only the agent knows: it cannot tell the catalogue, as it
    // needs the same token for that.
    checks(&stage, "critical").await;
    let alerted = stage.nodes.iter().filter(|node| node.said("WARN") > 0).count();
    let token = token(&stage.laboratory.world, ALL_SERVICES).await;
    replace(&file, &token);
    let replaced = Instant::now();
    checks(&stage, "passing").await;
    let registered = replaced.elapsed();
    stage.laboratory.registered(&NODES).await;
    stage.caller.reaches(&NODES).await;
    let ended = Instant::now();
    let records = load.stop().await;
    // The agent tells the catalogue with the new token: a node that dies now is not listed any more.
    stage.nodes[0].signal(Signal::SIGKILL);
    let out = stage.laboratory.registered(&[NODES[1], NODES[2]]).await;
    stage
        .outcome("F25", &records, revoked, ended)
        .count("nodes that said nothing", NODES.len() - alerted, 0)
        .time(
            "a node that was killed after that is not listed",
            out,
            setup.pace.ttl() + Duration::from_secs(2),
        )
        .seconds(
            "registered after the token was replaced",
            registered,
            Duration::from_secs(5),
        )
}

/// F26: a client loses the right to read, which Consul answers with an empty list.
pub(super) async fn right_lost(setup: Setup) -> Outcome {
    let (world, folder) = with_token(&setup, ALL_SERVICES).await;
    let reading = folder.path().join("reading");
    let reader = token(&world, ALL_SERVICES).await;
    fs::write(&reading, &reader).expect("written");
    let through = world.through(world.address().to_owned(), Some(reading));
    let stage = Stage::following(Laboratory::with(&setup, world), through).await;
    let load = stage.load(&setup).await;
    let lost = Instant::now();
    take_rights(&stage.laboratory.world, &reader).await;
    // A change, so that whoever follows is answered.
    let _fourth = stage.laboratory.node("four");
    wait("the client is refused", PATIENCE, async || {
        stage.caller.seen.failures(lost) > 0
    })
    .await;
    pass(setup.pace.of(Duration::from_secs(5), Duration::from_secs(120))).await;
    let ended = Instant::now();
    let records = load.stop().await;
    let sets = stage.caller.seen.sets(lost);
    let smaller = sets
        .iter()
        .filter(|set| NODES.iter().any(|node| !set.ids.contains(*node)));
    let smaller = smaller.count();
    stage
        .outcome("F26", &records, lost, ended)
        .count("sets without a node that lives", smaller, 0)
}

/// F27: somebody else on the host has taken all connections that Consul allows.
pub(super) async fn connections_taken(setup: Setup) -> Outcome {
    let stage = Stage::new(&setup, Size::One).await;
    let follower = stage.laboratory.follow();
    wait("the follower knows all", PATIENCE, async || {
        follower.seen.last().is_some()
    })
    .await;
    let load = stage.load(&setup).await;
    let mut taken = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        taken.push(
            TcpStream::connect(stage.laboratory.world.address())
                .await
                .expect("accepted"),
        );
    }
    let full = Instant::now();
    pass(setup.pace.ttl() * 3).await;
    let ended = Instant::now();
    drop(taken);
    let registered = stage.laboratory.registered(&NODES).await;
    let records = load.stop().await;
    stage
        .outcome("F27", &records, full, ended)
        .count("changes of the registry", follower.seen.changes(full), 0)
        .registrations(follower.seen.returns(full), 0)
        .time("all are registered", registered, Duration::from_secs(1))
}

/// A Consul with rights, and a token in a file.
async fn with_token(setup: &Setup, rules: &str) -> (World, tempfile::TempDir) {
    let world = World::start(setup.backend, Size::OneWithRights).await;
    let folder = tempfile::tempdir().expect("a folder for the token");
    let file = folder.path().join("token");
    fs::write(&file, token(&world, rules).await).expect("written");
    (world.with_token_file(file), folder)
}

/// A new token that has the rights of `rules`.
async fn token(world: &World, rules: &str) -> String {
    let name = format!("rules-{:016x}", fastrand::u64(..));
    change(
        world,
        Method::PUT,
        "acl/policy",
        json!({"Name": name, "Rules": rules}),
    )
    .await;
    let token = change(
        world,
        Method::PUT,
        "acl/token",
        json!({"Policies": [{"Name": name}]}),
    )
    .await;
    token["SecretID"]
        .as_str()
        .expect("a token has a secret")
        .to_owned()
}

/// The token as Consul has it.
async fn known(world: &World, token: &str) -> Value {
    for entry in change(world, Method::GET, "acl/tokens", Value::Null)
        .await
        .as_array()
        .expect("a list")
    {
        let path = format!("acl/token/{}", entry["AccessorID"].as_str().expect("an id"));
        let known = change(world, Method::GET, &path, Value::Null).await;
        if known["SecretID"] == token {
            return known;
        }
    }
    panic!("Consul does not know the token");
}

async fn forget(world: &World, token: &str) {
    let id = known(world, token).await["AccessorID"]
        .as_str()
        .expect("an id")
        .to_owned();
    change(world, Method::DELETE, &format!("acl/token/{id}"), Value::Null).await;
}

/// Leaves the token nothing but what has nothing to do with its service.
async fn take_rights(world: &World, token: &str) {
    let known = known(world, token).await;
    let policy = known["Policies"][0]["ID"].as_str().expect("an id").to_owned();
    let name = known["Policies"][0]["Name"].clone();
    let rules = json!({"ID": policy, "Name": name, "Rules": NOTHING});
    change(world, Method::PUT, &format!("acl/policy/{policy}"), rules).await;
}

async fn change(world: &World, method: Method, path: &str, body: Value) -> Value {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (status, answer) = world
        .consul()
        .request(method, path, &body)
        .await
        .expect("Consul answers");
    assert!(status.is_success(), "{path}: {status} {answer}");
    serde_json::from_str(&answer).expect("JSON")
}

/// Waits until the agent has this state for every node.
async fn checks(stage: &Stage, state: &str) {
    let world = &stage.laboratory.world;
    wait(&format!("all checks are {state}"), PATIENCE, async || {
        let checks = change(world, Method::GET, "agent/checks", Value::Null).await;
        let checks = checks.as_object().expect("checks by id");
        checks.len() == NODES.len() && checks.values().all(|check| check["Status"] == state)
    })
    .await;
}

/// Replaces a file as programs do that hand out tokens: whoever reads it sees the old or the new.
fn replace(file: &PathBuf, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(&new, file).expect("renamed");
}
