//! What the tests have no real agent for: answers of newer versions, and of servers that have not heard of their leader.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{
    future,
    sync::{Arc, Mutex},
    time::Duration,
};

use micro_registry::{ErrorKind, Node, Registry, Snapshot, Watcher};
use micro_registry_consul::Consul;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time,
};

const TTL: Duration = Duration::from_secs(900);
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);
/// What a list has whose server knows all.
const LED: &str = "X-Consul-Index: 7\r\nX-Consul-KnownLeader: true\r\nX-Consul-LastContact: 0\r\n";

/// What an agent answers: status, headers and body. `None` is no answer ever.
type Answer = Option<(u16, String, Value)>;

/// An agent that says what a script makes of the method and the path of a request, and notes what it is asked.
struct Scripted {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Scripted {
    /// Answers by `script`, which also sees how often the like was asked before.
    async fn start(script: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, script) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(script));
        let mut accepting = JoinSet::new();
        let noted = Arc::clone(&asked);
        accepting.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (noted, script) = (Arc::clone(&noted), Arc::clone(&script));
                serving.spawn(async move {
                    let answer = |asked: String| {
                        let mut noted = noted.lock().unwrap();
                        let before = noted.iter().filter(|before| **before == asked).count();
                        noted.push(asked.clone());
                        script(&asked, before)
                    };
                    serve(stream, answer).await
                });
            }
        });
        Self {
            address,
            asked,
            _accepting: accepting,
        }
    }

    fn registry(&self) -> Consul {
        Consul::builder().address(&self.address).build().unwrap()
    }

    /// How often something was asked that begins so.
    fn count(&self, beginning: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.starts_with(beginning)).count()
    }
}

/// Answers one request after the other.
async fn serve(stream: TcpStream, answer: impl Fn(String) -> Answer) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        stream.read_line(&mut first).await.ok().filter(|read| *read > 0)?;
        let mut body = 0;
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await.ok()?;
            if line.trim().is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            if name.eq_ignore_ascii_case("content-length") {
                body = value.trim().parse().ok()?;
            }
        }
        stream.read_exact(&mut vec![0; body]).await.ok()?;
        let asked = first.trim_end().strip_suffix(" HTTP/1.1")?.to_owned();
        let Some((status, headers, body)) = answer(asked) else {
            future::pending::<()>().await;
            return None;
        };
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let length = body.len();
        let text = format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}

fn node(boot: &str) -> Node {
    let address = "127.0.0.1:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "greeter-1", address);
    node.boot(boot).build().unwrap()
}

fn entries(ids: &[&str]) -> Value {
    let entry = |id: &&str| {
        json!({
            "Node": {"Node": "host-1", "Address": "127.0.0.1"},
            "Service": {"ID": id, "Service": "greeter", "Port": 80, "Address": "", "Meta": {"micro-id": id}},
        })
    };
    ids.iter().map(entry).collect()
}

fn said(status: u16, body: &str) -> Answer {
    Some((status, String::new(), body.into()))
}

fn with(headers: &str, body: Value) -> Answer {
    Some((200, headers.to_owned(), body))
}

async fn next(watcher: &mut Watcher) -> micro_registry::Result<Snapshot> {
    let next = time::timeout(LIMIT, watcher.next()).await;
    next.expect("in time").expect("the watch has not ended")
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.nodes().iter().map(|node| node.id()).collect()
}

/// What an agent answers to whoever may see all of a service that nobody knows, and looks whether that is so.
fn rights(asked: &str) -> Answer {
    if asked.contains("/catalog/nodes") {
        return with(LED, json!([{"Node": "host-1"}]));
    }
    said(404, "")
}

#[tokio::test]
async fn a_list_of_nobody_that_was_filtered_is_a_missing_right() {
    // As to a token that may read the service, and of whose nodes some stand where it may not.
    let agent = Scripted::start(|asked, _| {
        let headers = format!("{LED}X-Consul-Results-Filtered-By-ACLs: true\r\n");
        match asked {
            _ if asked.contains("/catalog/services") => with(&headers, json!({})),
            _ if asked.contains("/v1/health/") => with(&headers, json!([])),
            _ => rights(asked),
        }
    })
    .await;
    let registry = agent.registry();
    let listed = registry.get_service("greeter").await.unwrap_err();
    assert_eq!(listed.kind(), ErrorKind::PermissionDenied, "{listed:?}");
    let mut watcher = registry.watch("greeter").await.unwrap();
    let watched = next(&mut watcher).await.unwrap_err();
    assert_eq!(watched.kind(), ErrorKind::PermissionDenied, "{watched:?}");
    let named = registry.list_services().await.unwrap_err();
    assert_eq!(named.kind(), ErrorKind::PermissionDenied, "{named:?}");
}

#[tokio::test]
async fn a_list_of_nobody_where_nothing_is_denied_is_believed_at_once() {
    for (policy, asks_more) in [("allow", false), ("deny", true)] {
        let agent = Scripted::start(move |asked, _| {
            let headers = format!("{LED}X-Consul-Default-ACL-Policy: {policy}\r\n");
            match asked {
                _ if asked.contains("/v1/health/") => with(&headers, json!([])),
                _ => rights(asked),
            }
        })
        .await;
        assert!(agent.registry().get_service("greeter").await.unwrap().is_empty());
        for what in [
            "agent/health/service/name/greeter",
            "config/service-defaults/greeter",
            "catalog/nodes",
        ] {
            assert_eq!(
                agent.count(&format!("GET /v1/{what}")) > 0,
                asks_more,
                "{policy}: {what}"
            );
        }
    }
}

#[tokio::test]
async fn lists_take_any_servers_word_and_a_number_of_nothing_is_waited_for_from_one_on() {
    let agent = Scripted::start(|asked, _| {
        if asked.contains("index=") {
            return None;
        }
        with(&LED.replace("Index: 7", "Index: 0"), entries(&["a"]))
    })
    .await;
    let mut watcher = agent.registry().watch("greeter").await.unwrap();
    assert_eq!(ids(&next(&mut watcher).await.unwrap()), ["a"]);
    let waits = "GET /v1/health/service/greeter?stale=&passing=1&index=1&wait=30s";
    let asked = async {
        while agent.count(waits) == 0 {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(LIMIT, asked)
        .await
        .expect("it waits for what comes after 1");
    let all = agent.count("GET ");
    assert_eq!(
        agent.count("GET /v1/health/service/greeter?stale=&passing=1"),
        all
    );

    let numberless = Scripted::start(|_, _| with("", entries(&["a"]))).await;
    let error = numberless.registry().get_service("greeter").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
}

#[tokio::test]
async fn a_server_that_has_not_heard_of_its_leader_for_long_takes_no_node_away() {
    for (server, is_believed) in [
        (
            "X-Consul-KnownLeader: false\r\nX-Consul-LastContact: 0\r\n",
            false,
        ),
        (
            "X-Consul-KnownLeader: true\r\nX-Consul-LastContact: 5001\r\n",
            false,
        ),
        (
            "X-Consul-KnownLeader: true\r\nX-Consul-LastContact: 5000\r\n",
            true,
        ),
        ("X-Consul-KnownLeader: true\r\n", true),
    ] {
        let agent = Scripted::start(move |asked, _| match asked {
            _ if asked.contains("index=7&") => with(
                &format!("X-Consul-Index: 8\r\n{server}"),
                // One has gone, and one has come.
                entries(&["a", "c"]),
            ),
            _ if asked.contains("index=") => None,
            _ => with(LED, entries(&["a", "b"])),
        })
        .await;
        let mut watcher = agent.registry().watch("greeter").await.unwrap();
        assert_eq!(ids(&next(&mut watcher).await.unwrap()), ["a", "b"]);
        let expected = if is_believed {
            &["a", "c"][..]
        } else {
            &["a", "b", "c"]
        };
        assert_eq!(ids(&next(&mut watcher).await.unwrap()), expected, "{server}");
    }
}

#[tokio::test]
async fn an_agent_that_has_too_much_to_do_is_left_for_the_next() {
    let busy = Scripted::start(|_, _| said(429, "Your IP is issuing too many concurrent connections")).await;
    let free = Scripted::start(|_, _| with(LED, entries(&["a"]))).await;
    let addresses = format!("{},{}", busy.address, free.address);
    let registry = Consul::builder().address(addresses).build().unwrap();
    let error = registry.get_service("greeter").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
    assert!(busy.count("GET ") > 0 && free.count("GET ") > 0);
}

/// What an agent answers that takes what it is told, and holds `greeter-1` of `boot-1`.
fn agreeable(asked: &str) -> Answer {
    match asked {
        _ if asked.starts_with("PUT ") => said(200, ""),
        _ if asked.contains("/agent/health/service/id/") => {
            let held = json!({"AggregatedStatus": "passing", "Service": {
                "ID": "greeter-1", "Service": "greeter", "Port": 9090, "Address": "127.0.0.1",
                "Meta": {"micro-boot": "boot-1", "micro-id": "greeter-1"},
            }});
            with("", held)
        }
        _ => with(LED, json!([])),
    }
}

#[tokio::test]
async fn a_check_that_an_agent_of_any_version_has_forgotten_is_registered_anew() {
    const PASS: &str = "PUT /v1/agent/check/pass/service:greeter-1";
    const REGISTER: &str = "PUT /v1/agent/service/register";
    for (status, words) in [
        (
            404,
            r#"Unknown check ID "service:greeter-1". Ensure that the check ID is passed, not the check name."#,
        ),
        (404, ""),
        (500, r#"Unknown check "service:greeter-1""#),
        (500, r#"CheckID "service:greeter-1" does not have associated TTL"#),
    ] {
        let agent = Scripted::start(move |asked, before| match asked {
            PASS if before == 1 => said(status, words),
            _ => agreeable(asked),
        })
        .await;
        let registry = agent.registry();
        for registrations in [1, 2, 2] {
            registry.register(&node("boot-1"), TTL).await.unwrap();
            assert_eq!(agent.count(REGISTER), registrations, "{status} {words}");
        }
    }
    // What else goes wrong there is no reason to.
    let agent = Scripted::start(|asked, before| match asked {
        PASS if before == 1 => said(500, "No cluster leader"),
        _ => agreeable(asked),
    })
    .await;
    let registry = agent.registry();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(agent.count(REGISTER), 1);
}

#[tokio::test]
async fn a_node_that_an_agent_of_any_version_has_forgotten_is_deregistered() {
    const DEREGISTER: &str = "PUT /v1/agent/service/deregister/greeter-1";
    for (status, words, expected) in [
        (
            404,
            r#"Unknown service ID "greeter-1". Ensure that the service ID is passed, not the service name."#,
            None,
        ),
        (500, r#"Unknown service "greeter-1""#, None),
        (500, "No cluster leader", Some(ErrorKind::Unavailable)),
    ] {
        let agent = Scripted::start(move |asked, _| match asked {
            DEREGISTER => said(status, words),
            _ => agreeable(asked),
        })
        .await;
        let answer = agent.registry().deregister(&node("boot-1")).await;
        assert_eq!(
            answer.err().map(|error| error.kind()),
            expected,
            "{status} {words}"
        );
        assert_eq!(agent.count(DEREGISTER), 1);
        // Another boot's stays.
        agent.registry().deregister(&node("boot-2")).await.unwrap();
        assert_eq!(agent.count(DEREGISTER), 1);
    }
}
