//! A server that lets in those alone who have a password: the suite, and what becomes of tokens and passwords.

use std::{fs, time::Duration};

use async_trait::async_trait;
use base64::{Engine, prelude::BASE64_STANDARD};
use micro_registry::{Error, ErrorKind, Registry};
use micro_registry_etcd::{Builder, Etcd};
use micro_test_servers::{Etcd as Server, Node};
use reqwest::Method;
use serde_json::json;
use tokio::time::{self, Instant};

use crate::{
    announcing::{KEYS, TTL, change, node, server, stored},
    conformance::{EtcdHarness, Setup},
};

const USER: &str = "micro";
const PASSWORD: &str = "5ec7e7-of-micro";
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);

struct Users(Server);

#[async_trait]
impl Setup for Users {
    async fn start() -> Self {
        Self(Server::builder().users().start().await.expect("a server"))
    }

    fn server(&self) -> &Server {
        &self.0
    }

    fn builder(&self) -> Builder {
        Etcd::builder().address(self.0.address()).user(USER, PASSWORD)
    }

    async fn prepare(&self) {
        let added = self.0.add_user(USER, PASSWORD, KEYS).await;
        added.expect("etcd takes users");
    }
}

micro_registry::conformance! { EtcdHarness<Users> }

async fn with_users(argument: &str) -> Users {
    let server = Server::builder().users().argument(argument).start().await;
    let users = Users(server.expect("a server"));
    users.prepare().await;
    users
}

async fn refusal(registry: &Etcd) -> Error {
    let answer = registry.register(&node("boot-1"), TTL).await;
    let error = answer.expect_err("it is refused");
    assert!(!format!("{error:?}").contains("5ec7e7"), "{error:?}");
    error
}

#[tokio::test]
async fn who_has_no_password_or_a_wrong_one_is_told_so_and_who_has_no_right_too() {
    let users = with_users("--auth-token-ttl=300").await;
    let address = || Etcd::builder().address(users.0.address());
    for (builder, expected) in [
        (address(), ErrorKind::Unauthenticated),
        (address().user(USER, "5ec7e7-wrong"), ErrorKind::Unauthenticated),
        (address().user("nobody", PASSWORD), ErrorKind::Unauthenticated),
        (users.builder().prefix("/other/"), ErrorKind::PermissionDenied),
    ] {
        let registry = builder.build().unwrap();
        for _ in 0..2 {
            let error = refusal(&registry).await;
            assert_eq!(error.kind(), expected, "{error:?}");
        }
        let error = registry.get_service("greeter").await.unwrap_err();
        assert_eq!(error.kind(), expected, "{error:?}");
    }
}

#[tokio::test]
async fn a_service_needs_no_more_than_to_write_below_its_own_keys_and_to_read_those_of_others() {
    let server = Server::builder().users().start().await.unwrap();
    server
        .add_user(USER, PASSWORD, "/micro/registry/greeter/")
        .await
        .unwrap();
    let right = |kind: &str, prefix: &str, end: &str| {
        let (key, end) = (BASE64_STANDARD.encode(prefix), BASE64_STANDARD.encode(end));
        json!({"name": USER, "perm": {"permType": kind, "key": key, "range_end": end}})
    };
    let reads = right("READ", KEYS, "/micro/registry0");
    change(&server, "auth/role/grant", &reads).await;
    let builder = Etcd::builder().address(server.address()).user(USER, PASSWORD);
    let registry = builder.build().unwrap();
    for _ in 0..2 {
        registry.register(&node("boot-1"), TTL).await.unwrap();
    }
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert_eq!(*watcher.next().await.unwrap().unwrap().nodes()[0], node("boot-1"));
    assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
    assert!(registry.get_service("orders").await.unwrap().is_empty());
    registry.deregister(&node("boot-1")).await.unwrap();
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
    let address = "127.0.0.1:9090".parse().unwrap();
    let other = micro_registry::Node::builder("orders".parse().unwrap(), "orders-1", address);
    let error = registry.register(&other.build().unwrap(), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
}

#[tokio::test]
async fn a_password_is_of_no_use_and_no_harm_where_nobody_asks_for_one() {
    let server = server().await;
    let builder = Etcd::builder().address(server.address()).user(USER, PASSWORD);
    let registry = builder.build().unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&server).await.is_some());
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_within_the_call() {
    let users = with_users("--auth-token-ttl=300").await;
    let registry = users.builder().build().unwrap();
    for _ in 0..2 {
        registry.register(&node("boot-1"), TTL).await.unwrap();
        // The tokens of a user end with the password, also if it stays the same.
        let password = json!({ "name": USER, "password": PASSWORD });
        change(&users.0, "auth/user/changepw", &password).await;
    }
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&users.0).await.is_some());
}

#[tokio::test]
async fn a_token_that_ran_out_is_replaced_within_the_call() {
    let users = with_users("--auth-token-ttl=1").await;
    let registry = users.builder().build().unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let short = node("boot-1").service().clone();
    let short = micro_registry::Node::builder(short, "short", "127.0.0.1:80".parse().unwrap())
        .build()
        .unwrap();
    // What goes after 3 s shows that longer than the token's life has passed.
    let mut watcher = registry.watch("greeter").await.unwrap();
    registry.register(&short, Duration::from_secs(3)).await.unwrap();
    let gone = async {
        let mut was_there = false;
        loop {
            let snapshot = watcher.next().await.unwrap().unwrap();
            let is_there = snapshot.get("short").is_some();
            if was_there && !is_there {
                return;
            }
            was_there = is_there;
        }
    };
    time::timeout(LIMIT, gone).await.unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_token_of_an_older_revision_is_replaced_within_the_call() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "what signs tokens").unwrap();
    let argument = format!(
        "--auth-token=jwt,priv-key={},sign-method=HS256,ttl=10m",
        key.display()
    );
    let users = with_users(&argument).await;
    let registry = users.builder().build().unwrap();
    for name in ["ann", "bob"] {
        registry.register(&node("boot-1"), TTL).await.unwrap();
        users.0.add_user(name, "5ec7e7", "/other/").await.unwrap();
    }
    registry.register(&node("boot-1"), TTL).await.unwrap();
    registry.deregister(&node("boot-1")).await.unwrap();
    assert_eq!(stored(&users.0).await, None);
}

#[tokio::test]
async fn a_password_that_was_replaced_in_its_file_is_found_when_the_old_one_is_refused() {
    let users = with_users("--auth-token-ttl=300").await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    fs::write(&path, format!("{PASSWORD}\n")).unwrap();
    let registry = Etcd::builder()
        .address(users.0.address())
        .user_with_password_file(USER, &path)
        .build()
        .unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let password = json!({ "name": USER, "password": "5ec7e7-new" });
    change(&users.0, "auth/user/changepw", &password).await;
    let error = refusal(&registry).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    fs::write(&path, "5ec7e7-new").unwrap();
    let renewed = async {
        while registry.register(&node("boot-1"), TTL).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    time::timeout(LIMIT, renewed).await.unwrap();
}

#[tokio::test]
async fn many_calls_at_once_log_in_once() {
    let users = with_users("--auth-token-ttl=300").await;
    let registry = users.builder().build().unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    let password = json!({ "name": USER, "password": PASSWORD });
    change(&users.0, "auth/user/changepw", &password).await;
    let before = logins(&users.0).await;
    let calls = (0..50).map(|_| registry.get_service("greeter"));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap().len(), 1);
    }
    assert_eq!(logins(&users.0).await, before + 1);
}

#[tokio::test]
async fn a_second_at_least_is_between_two_logins() {
    const LOGINS: u32 = 3;
    // Else etcd itself takes its time.
    let users = with_users("--bcrypt-cost=4").await;
    let registry = users.builder().build().unwrap();
    let started = Instant::now();
    registry.register(&node("boot-1"), TTL).await.unwrap();
    for _ in 0..LOGINS {
        let password = json!({ "name": USER, "password": PASSWORD });
        change(&users.0, "auth/user/changepw", &password).await;
        registry.register(&node("boot-1"), TTL).await.unwrap();
    }
    let elapsed = started.elapsed();
    assert!(elapsed >= LOGINS * Duration::from_secs(1), "{elapsed:?}");
}

#[tokio::test]
async fn a_server_that_sleeps_when_we_log_in_is_left_for_the_next() {
    let server = Server::builder().members(3).users().start().await.unwrap();
    let users = Users(server);
    users.prepare().await;
    let addresses: Vec<_> = users.0.nodes().iter().map(Node::address).collect();
    let builder = Etcd::builder().address(addresses.join(","));
    let registry = builder.user(USER, PASSWORD).build().unwrap();
    users.0.nodes()[0].pause();
    let started = Instant::now();
    while let Err(error) = registry.register(&node("boot-1"), TTL).await {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(started.elapsed() < LIMIT, "{error:?}");
    }
    users.0.nodes()[0].resume();
    users.0.until_ready().await.unwrap();
    assert!(stored(&users.0).await.is_some());
}

/// How often somebody has logged in.
async fn logins(server: &Server) -> u64 {
    let (_, text) = server.nodes()[0]
        .request(Method::GET, "/metrics", &[], "")
        .await
        .expect("etcd counts");
    let is_login = |line: &&str| {
        line.starts_with("grpc_server_started_total{") && line.contains(r#"grpc_method="Authenticate""#)
    };
    let line = text.lines().find(is_login).expect("somebody has logged in");
    let count = line.rsplit_once(' ').expect("a count").1;
    count.parse().expect("a number")
}
