//! What is listed and what is not, checks, failing agents, and records that others change.

use std::{sync::Arc, time::Duration};

use micro_registry::{ErrorKind, Method, Node, Registry, Snapshot, Watcher};
use micro_registry_consul::{Builder, Check, Consul};
use micro_test_servers::{Consul as Agent, Shim};
use reqwest::Method as Http;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

const TTL: Duration = Duration::from_secs(900);
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);

async fn plain() -> Agent {
    Agent::builder().start().await.expect("an agent")
}

fn builder(agent: &Agent) -> Builder {
    Consul::builder().address(agent.address())
}

fn registry(agent: &Agent) -> Consul {
    builder(agent).build().expect("good settings")
}

fn node(id: &str, boot: &str) -> Node {
    node_at(id, boot, "127.0.0.1:9090")
}

fn node_at(id: &str, boot: &str, address: &str) -> Node {
    let service = "greeter".parse().expect("a good name");
    let node = Node::builder(service, id, address.parse().expect("a good address"));
    node.boot(boot).build().expect("a good node")
}

async fn change(agent: &Agent, path: &str, body: Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let (status, answer) = agent
        .request(Http::PUT, path, &body)
        .await
        .expect("the agent answers");
    assert!(status.is_success(), "{path}: {status} {answer}");
}

async fn stored(agent: &Agent, id: &str) -> Value {
    let (_, answer) = agent
        .request(Http::GET, &format!("agent/service/{id}"), "")
        .await
        .expect("the agent answers");
    serde_json::from_str(&answer).expect("JSON")
}

/// Waits until the ids are `expected`.
async fn yields(watcher: &mut Watcher, expected: &[&str]) -> Snapshot {
    let find = async {
        loop {
            let snapshot = watcher
                .next()
                .await
                .expect("the watch goes on")
                .expect("no error");
            let ids: Vec<_> = snapshot.nodes().iter().map(|node| node.id()).collect();
            if ids == expected {
                return snapshot;
            }
        }
    };
    time::timeout(LIMIT, find).await.expect("in time")
}

#[tokio::test]
async fn what_is_critical_or_in_maintenance_is_neither_listed_nor_named() {
    let agent = plain().await;
    let registry = registry(&agent);
    let mut watcher = registry.watch("greeter").await.unwrap();
    registry
        .register(&node("greeter-1", "boot-1"), TTL)
        .await
        .unwrap();
    for (down, up) in [
        (
            "agent/service/maintenance/greeter-1?enable=true",
            "agent/service/maintenance/greeter-1?enable=false",
        ),
        (
            "agent/check/fail/service:greeter-1",
            "agent/check/pass/service:greeter-1",
        ),
        (
            "agent/check/warn/service:greeter-1",
            "agent/check/pass/service:greeter-1",
        ),
        ("agent/maintenance?enable=true", "agent/maintenance?enable=false"),
    ] {
        yields(&mut watcher, &["greeter-1"]).await;
        assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
        change(&agent, down, Value::Null).await;
        yields(&mut watcher, &[]).await;
        assert!(
            registry.get_service("greeter").await.unwrap().is_empty(),
            "{down}"
        );
        assert!(registry.list_services().await.unwrap().is_empty(), "{down}");
        change(&agent, up, Value::Null).await;
    }
    yields(&mut watcher, &["greeter-1"]).await;
}

#[tokio::test]
async fn a_record_that_goes_bad_between_two_watches_is_the_node_that_it_was() {
    let agent = plain().await;
    let shim = Shim::start(agent.address()).await.unwrap();
    let registry = Consul::builder().address(shim.address()).build().unwrap();
    for id in ["greeter-1", "greeter-2"] {
        registry.register(&node(id, "boot-1"), TTL).await.unwrap();
    }
    let mut watcher = registry.watch("greeter").await.unwrap();
    let before = yields(&mut watcher, &["greeter-1", "greeter-2"]).await;
    shim.refuse();
    shim.cut();
    let end = async { while watcher.next().await.expect("an error is last").is_ok() {} };
    time::timeout(LIMIT, end).await.expect("the watch ends");
    let bad = json!({
        "ID": "greeter-2", "Name": "greeter", "Port": 0, "Check": {"TTL": "900s", "Status": "passing"},
    });
    change(&agent, "agent/service/register", bad).await;
    let fresh = self::registry(&agent).get_service("greeter").await.unwrap();
    assert_eq!(fresh.len(), 1, "{fresh:?}");
    shim.heal();
    let mut watcher = registry.watch("greeter").await.unwrap();
    let after = watcher.next().await.unwrap().unwrap();
    assert_eq!(after, before);
    assert!(
        Arc::ptr_eq(&before.nodes()[0], &after.nodes()[0]),
        "it is not read again"
    );
    change(&agent, "agent/service/deregister/greeter-2", Value::Null).await;
    yields(&mut watcher, &["greeter-1"]).await;
}

#[tokio::test]
async fn what_other_programs_registered_is_found() {
    let agent = plain().await;
    let bare = json!({"ID": "web", "Name": "greeter", "Port": 80});
    change(&agent, "agent/service/register", bare).await;
    let go_micro = json!({
        "ID": "greeter-4f9f8e6c",
        "Name": "greeter",
        "Address": "10.0.0.7",
        "Port": 50051,
        "Tags": [
            "v-789c32d433d03300040000ffff02ce00ee",
            "t-789caa562a28ca2fc94fcecf51b2524a2f2a4856aa05040000ffff468306d9",
            "e-789c8c8d410a02311004ffd2e7e003f2013d7b150f019b459864d7998920217f17640dbb78f1d45054530dca47a539624349998838af24c05fcb1e3c93541ae265c89f19a6b9decbb4114b15e9d71ea0b4652ec65d67459bd020bfa56cd33fa14c4fb7e409b1f5f0fd1e9574eae1449119fd1d0000ffff2aca537b",
        ],
        "Check": {"TTL": "900s", "Status": "passing"},
    });
    change(&agent, "agent/service/register", go_micro).await;
    let registry = registry(&agent);
    let mut watcher = registry.watch("greeter").await.unwrap();
    let (_, answer) = agent
        .request(Http::GET, "agent/self", "")
        .await
        .expect("the agent answers");
    let own: Value = serde_json::from_str(&answer).unwrap();
    let web = format!("web@{}", own["Config"]["NodeName"].as_str().unwrap());
    let snapshot = yields(&mut watcher, &["greeter-4f9f8e6c", &web]).await;
    assert_eq!(snapshot.get(&web).unwrap().address().to_string(), "127.0.0.1:80");
    let found = snapshot.get("greeter-4f9f8e6c").unwrap();
    assert_eq!((found.version(), found.address().port()), ("1.0.0", 50051));
    assert_eq!(found.metadata()["protocol"], "grpc");
    let mut hello = Method::new("greeter.Greeter", "Hello");
    (hello.request, hello.response) = ("Request".into(), "Response".into());
    assert_eq!(found.methods(), [hello]);
}

#[tokio::test]
async fn tags_and_connect_are_registered_with_the_node() {
    let agent = plain().await;
    let registry = builder(&agent).tags(["blue"]).connect_native().build().unwrap();
    registry
        .register(&node("greeter-1", "boot-1"), TTL)
        .await
        .unwrap();
    let stored = stored(&agent, "greeter-1").await;
    assert!(
        stored["Tags"].as_array().unwrap().contains(&json!("blue")),
        "{stored}"
    );
    assert_eq!(stored["Connect"]["Native"], json!(true));
    assert_eq!(
        stored["Meta"],
        json!({"micro-boot": "boot-1", "micro-id": "greeter-1"})
    );
    assert_eq!(
        *registry.get_service("greeter").await.unwrap().nodes()[0],
        node("greeter-1", "boot-1")
    );
}

/// Answers every HTTP request with `status`.
async fn answer_http(listener: &TcpListener, status: &str) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

#[tokio::test]
async fn a_check_of_the_agents_takes_out_who_does_not_answer() {
    let agent = plain().await;
    for check in [Check::Http, Check::Tcp] {
        let registry = builder(&agent)
            .check(check)
            .check_interval(Duration::from_secs(1))
            .build()
            .unwrap();
        let mut watcher = registry.watch("greeter").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(async move { answer_http(&listener, "200 OK").await });
        let node = node_at(&format!("greeter-{check}"), "boot-1", &address);
        registry.register(&node, TTL).await.unwrap();
        yields(&mut watcher, &[node.id()]).await;
        // A renewal is no heartbeat here: it changes nothing.
        registry.register(&node, TTL).await.unwrap();
        // Another boot at the same address: nobody else can be there.
        let again = node_at(node.id(), "boot-2", &address);
        registry.register(&again, TTL).await.unwrap();
        assert_eq!(*registry.get_service("greeter").await.unwrap().nodes()[0], again);
        server.shutdown().await;
        yields(&mut watcher, &[]).await;
        registry.deregister(&again).await.unwrap();
    }
}

#[tokio::test]
async fn not_ready_is_not_listed_by_the_http_check() {
    let agent = plain().await;
    let registry = builder(&agent)
        .check(Check::Http)
        .check_interval(Duration::from_secs(1))
        .build()
        .unwrap();
    let mut watcher = registry.watch("greeter").await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let node = node_at("greeter-1", "boot-1", &listener.local_addr().unwrap().to_string());
    registry.register(&node, TTL).await.unwrap();
    yields(&mut watcher, &["greeter-1"]).await;
    let not_ready = answer_http(&listener, "503 Service Unavailable");
    tokio::select! {
        () = not_ready => {}
        _ = yields(&mut watcher, &[]) => {}
    }
}

#[tokio::test]
async fn a_node_is_registered_anew_at_the_next_agent_when_one_fails() {
    let (first, second) = (plain().await, plain().await);
    let registry = builder(&first).address(second.address()).build().unwrap();
    let node = node("greeter-1", "boot-1");
    registry.register(&node, TTL).await.unwrap();
    assert!(stored(&first, "greeter-1").await.is_object());
    first.kill();
    assert_eq!(
        registry.register(&node, TTL).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    registry.register(&node, TTL).await.unwrap();
    registry.register(&node, TTL).await.unwrap();
    let error = registry.get_service("greeter").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(*registry.get_service("greeter").await.unwrap().nodes()[0], node);
    // Where it was left behind, it is withdrawn, too.
    first.start_again().await.unwrap();
    let other = self::registry(&first);
    other.register(&node, TTL).await.unwrap();
    registry.deregister(&node).await.unwrap();
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
    assert!(other.get_service("greeter").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_others_did_to_a_record_is_undone_or_told() {
    let agent = plain().await;
    let registry = registry(&agent);
    let node = node("greeter-1", "boot-1");
    registry.register(&node, TTL).await.unwrap();
    change(&agent, "agent/service/deregister/greeter-1", Value::Null).await;
    registry.register(&node, TTL).await.unwrap();
    assert_eq!(*registry.get_service("greeter").await.unwrap().nodes()[0], node);
    let meta = json!({"micro-boot": "boot-1", "micro-id": "greeter-1", "zone": "b"});
    let changed = json!({"ID": "greeter-1", "Name": "greeter", "Port": 1, "Address": "10.0.0.1", "Meta": meta,
        "Check": {"TTL": "900s"}});
    change(&agent, "agent/service/register", changed).await;
    registry.register(&node, TTL).await.unwrap();
    assert_eq!(*registry.get_service("greeter").await.unwrap().nodes()[0], node);
    let of_another = json!({"ID": "greeter-1", "Name": "greeter", "Port": 9091, "Address": "127.0.0.1",
        "Check": {"TTL": "900s"}});
    change(&agent, "agent/service/register", of_another).await;
    for _ in 0..2 {
        let error = registry.register(&node, TTL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.to_string().contains("127.0.0.1:9091"), "{error}");
    }
    registry.deregister(&node).await.unwrap();
    assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
    // Once it is dead, the id is free.
    change(&agent, "agent/check/fail/service:greeter-1", Value::Null).await;
    registry.register(&node, TTL).await.unwrap();
    assert_eq!(*registry.get_service("greeter").await.unwrap().nodes()[0], node);
}

#[tokio::test]
async fn an_agent_that_takes_no_more_connections_keeps_those_it_has() {
    let agent = Agent::builder()
        .configuration("limits { http_max_conns_per_client = 16 }")
        .start()
        .await
        .unwrap();
    let registry = registry(&agent);
    let node = node("greeter-1", "boot-1");
    registry.register(&node, TTL).await.unwrap();
    let mut early = registry.watch("greeter").await.unwrap();
    yields(&mut early, &["greeter-1"]).await;
    let mut idle = JoinSet::new();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(agent.address()).await.unwrap();
        idle.spawn(async move { stream.read_u8().await.map(drop) });
    }
    // The agent closes at once what is too many.
    let closed = time::timeout(LIMIT, idle.join_next()).await;
    closed.expect("the agent has a limit");
    registry.register(&node, TTL).await.unwrap();
    let mut late = registry.watch("greeter").await.unwrap();
    yields(&mut late, &["greeter-1"]).await;
    let beside = json!({"ID": "greeter-2", "Name": "greeter", "Address": "127.0.0.1", "Port": 80,
        "Meta": {"micro-id": "greeter-2"}});
    change(&agent, "agent/service/register", beside).await;
    yields(&mut early, &["greeter-1", "greeter-2"]).await;
    yields(&mut late, &["greeter-1", "greeter-2"]).await;
    registry.register(&node, TTL).await.unwrap();
}
