//! An agent that denies what no rule allows: the suite with a token, and what is said without the right one.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use micro_registry::{Error, ErrorKind, Node, Registry, Result};
use micro_registry_consul::{Builder, Consul};
use micro_test_servers::Consul as Agent;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time;

use crate::{
    conformance::{ConsulHarness, Setup},
    keeper::eventually_lists,
};

const TTL: Duration = Duration::from_secs(900);
/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(60);
/// What a service of any name needs.
pub(crate) const ALL_SERVICES: &str =
    r#"service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }"#;

const DOCUMENTATION: &str = include_str!("../../../docs/registries.md");
const HOW_TO_SECURE: &str = include_str!("../../../docs/howto/secure.md");

/// An agent with rights, and a file with a token that may announce and find services.
pub(crate) struct Denying {
    agent: Agent,
    folder: TempDir,
}

#[async_trait]
impl Setup for Denying {
    async fn start() -> Self {
        Self {
            agent: Agent::builder().rights().start().await.expect("an agent"),
            folder: tempfile::tempdir().expect("a folder for the token"),
        }
    }

    fn agent(&self) -> &Agent {
        &self.agent
    }

    fn builder(&self) -> Builder {
        Consul::builder()
            .address(self.agent.address())
            .token_file(self.token_file())
    }

    async fn prepare(&self) {
        let token = self.token(ALL_SERVICES).await;
        fs::write(self.token_file(), token).expect("write the token");
    }
}

impl Denying {
    pub(crate) async fn prepared() -> Self {
        let denying = Self::start().await;
        denying.prepare().await;
        denying
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        Path::join(self.folder.path(), "token")
    }

    /// A new token that has the rights of `rules`.
    async fn token(&self, rules: &str) -> String {
        self.policy_and_token(rules).await.1
    }

    /// A new token that has the rights of `rules`, and the policy that they stand in.
    pub(crate) async fn policy_and_token(&self, rules: &str) -> (Value, String) {
        let name = format!("rules-{:016x}", fastrand::u64(..));
        let policy = self
            .change("acl/policy", json!({"Name": name, "Rules": rules}))
            .await;
        let token = self
            .change("acl/token", json!({"Policies": [{"Name": name}]}))
            .await;
        let secret = token["SecretID"].as_str().expect("a token has a secret");
        (policy, secret.to_owned())
    }

    pub(crate) async fn change(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self
            .agent
            .request(Method::PUT, path, &body.to_string())
            .await
            .expect("the agent answers");
        assert!(status.is_success(), "{path}: {status} {answer}");
        serde_json::from_str(&answer).expect("JSON")
    }

    pub(crate) async fn forget(&self, token: &str) {
        let (_, answer) = self
            .agent
            .request(Method::GET, "acl/tokens", "")
            .await
            .expect("the agent answers");
        let tokens: Vec<Value> = serde_json::from_str(&answer).expect("JSON");
        for known in tokens {
            let path = format!("acl/token/{}", known["AccessorID"].as_str().expect("an id"));
            let (_, answer) = self
                .agent
                .request(Method::GET, &path, "")
                .await
                .expect("the agent answers");
            if answer.contains(token) {
                self.agent
                    .request(Method::DELETE, &path, "")
                    .await
                    .expect("the agent answers");
            }
        }
    }
}

micro_registry::conformance! { ConsulHarness<Denying> }

pub(crate) fn node() -> Node {
    let address = "127.0.0.1:9090".parse().expect("a good address");
    let node = Node::builder("greeter".parse().expect("a good name"), "greeter-1", address);
    node.boot("boot-1").build().expect("a good node")
}

fn kind<T>(answer: Result<T>) -> Option<ErrorKind> {
    answer.err().map(|error| error.kind())
}

#[tokio::test]
async fn a_missing_right_is_told_apart_from_nobody() {
    let denying = Denying::start().await;
    let builder = || Consul::builder().address(denying.agent.address());
    let anonymous = builder().build().unwrap();
    let unknown = builder()
        .token("5ec7e700-1111-4000-8000-000000000000")
        .build()
        .unwrap();
    let of_another_service = denying
        .token(r#"service "other" { policy = "write" } node_prefix "" { policy = "read" }"#)
        .await;
    let of_no_agent = denying.token(r#"service "greeter" { policy = "write" }"#).await;
    let all = denying.token(ALL_SERVICES).await;
    for (registry, expected) in [
        (anonymous, Some(ErrorKind::PermissionDenied)),
        (unknown, Some(ErrorKind::Unauthenticated)),
        (
            builder().token(of_another_service).build().unwrap(),
            Some(ErrorKind::PermissionDenied),
        ),
        (
            builder().token(of_no_agent).build().unwrap(),
            Some(ErrorKind::PermissionDenied),
        ),
        (builder().token(all).build().unwrap(), None),
    ] {
        assert_eq!(
            kind(registry.get_service("greeter").await),
            expected,
            "{registry:?}"
        );
        let mut watcher = registry.watch("greeter").await.unwrap();
        assert_eq!(kind(watcher.next().await.unwrap()), expected, "{registry:?}");
        assert_eq!(kind(registry.list_services().await), expected, "{registry:?}");
    }
}

#[tokio::test]
async fn registering_without_the_right_says_which_is_missing_and_shows_no_token() {
    let denying = Denying::start().await;
    let token = denying
        .token(r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#)
        .await;
    let registry = Consul::builder()
        .address(denying.agent.address())
        .token(&token)
        .build()
        .unwrap();
    let error = registry.register(&node(), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    let shown = format!("{error:?} {registry:?}");
    assert!(shown.contains("service:write"), "{shown}");
    assert!(!shown.contains(&token), "{shown}");
}

#[tokio::test]
async fn a_token_that_is_replaced_in_its_file_is_read_again_when_the_old_one_is_refused() {
    let denying = Denying::prepared().await;
    let registry = denying.builder().build().unwrap();
    registry.register(&node(), TTL).await.unwrap();
    let old = fs::read_to_string(denying.token_file()).unwrap();
    denying.prepare().await;
    denying.forget(&old).await;
    // The agent may know the old one for a while from its cache; in the end only the new one is good.
    registry.register(&node(), TTL).await.unwrap();
    assert_eq!(registry.get_service("greeter").await.unwrap().len(), 1);
    let late = Consul::builder()
        .address(denying.agent.address())
        .token(old)
        .build()
        .unwrap();
    assert_eq!(
        kind(late.register(&node(), TTL).await),
        Some(ErrorKind::Unauthenticated)
    );
}

#[tokio::test]
async fn a_right_that_is_lost_ends_a_watch_with_an_error_and_no_empty_snapshot() {
    let denying = Denying::prepared().await;
    let registry = denying.builder().build().unwrap();
    registry.register(&node(), TTL).await.unwrap();
    let mut watcher = registry.watch("greeter").await.unwrap();
    let error: Error = time::timeout(LIMIT, async {
        let mut is_lost = false;
        loop {
            match watcher.next().await.expect("an error before the end") {
                Ok(snapshot) if snapshot.is_empty() => assert!(!is_lost, "nobody is there, it says"),
                Ok(_) => {
                    let token = fs::read_to_string(denying.token_file()).unwrap();
                    denying.forget(&token).await;
                    is_lost = true;
                    // Something changes, so that the answer that waits comes.
                    let body = r#"{"ID":"greeter-2","Name":"greeter","Address":"127.0.0.1","Port":9091}"#;
                    denying
                        .agent
                        .request(Method::PUT, "agent/service/register", body)
                        .await
                        .unwrap();
                }
                Err(error) => return error,
            }
        }
    })
    .await
    .expect("in time");
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
}

/// The rules that stand in `page` behind the line `heading`.
fn documented<'a>(page: &'a str, heading: &str) -> &'a str {
    let (_, behind) = page.split_once(heading).expect("the page has the rules");
    let (_, block) = behind.split_once("```text\n").expect("they are a block");
    block.split("```").next().expect("a first part")
}

#[tokio::test]
async fn the_documented_rights_are_those_that_a_service_needs() {
    let rules = documented(DOCUMENTATION, "A service needs these rights:");
    let elsewhere = documented(HOW_TO_SECURE, "The rights that `orders` needs, and no more:");
    assert_eq!(elsewhere.replace("orders", "greeter"), rules);

    let denying = Denying::start().await;
    let token = denying.token(rules).await;
    let builder = Consul::builder().address(denying.agent.address()).token(token);
    let registry = builder.build().unwrap();
    for _ in 0..2 {
        registry.register(&node(), TTL).await.unwrap();
    }
    eventually_lists(&registry, "greeter", &["greeter-1"]).await;
    let mut watcher = registry.watch("greeter").await.unwrap();
    assert_eq!(*watcher.next().await.unwrap().unwrap().nodes()[0], node());
    assert_eq!(registry.list_services().await.unwrap(), ["greeter"]);
    // What it calls need not be there.
    assert!(registry.get_service("orders").await.unwrap().is_empty());
    registry.deregister(&node()).await.unwrap();
    eventually_lists(&registry, "greeter", &[]).await;
    let other = Node::builder(
        "orders".parse().unwrap(),
        "orders-1",
        "127.0.0.1:9090".parse().unwrap(),
    );
    let answer = registry.register(&other.build().unwrap(), TTL).await;
    assert_eq!(kind(answer), Some(ErrorKind::PermissionDenied));
}
