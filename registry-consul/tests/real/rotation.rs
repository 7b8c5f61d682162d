//! Tokens and rights that change while nodes are renewed and followed.

use std::{
    fs,
    time::{Duration, Instant},
};

use micro_registry::{ErrorKind, Registry};
use reqwest::Method;
use serde_json::json;
use tokio::time;

use crate::{
    conformance::Setup as _,
    keeper::{Keeper, LIMIT, Onlooker, ids_of},
    rights::{ALL_SERVICES, Denying, node},
};

const TTL: Duration = Duration::from_secs(9);
/// What an agent needs to be seen, and no service.
const AGENTS_ONLY: &str = r#"node_prefix "" { policy = "read" }"#;

#[tokio::test]
async fn a_token_that_is_replaced_before_the_old_one_goes_costs_no_renewal() {
    let denying = Denying::prepared().await;
    let registry = denying.builder().build().unwrap();
    let mut keeper = Keeper::start(registry, node(), TTL).await;
    for _ in 0..2 {
        let old = fs::read_to_string(denying.token_file()).unwrap();
        denying.prepare().await;
        // As operators do it: the old one goes once everybody has read the new one.
        keeper.renewed(1).await;
        denying.forget(&old).await;
        keeper.renewed(1).await;
    }
    assert_eq!(keeper.renewals().errors, []);
}

#[tokio::test]
async fn a_token_that_is_gone_before_it_is_replaced_costs_the_time_until_it_is() {
    let denying = Denying::prepared().await;
    let registry = denying.builder().build().unwrap();
    let mut keeper = Keeper::start(registry, node(), TTL).await;
    let old = fs::read_to_string(denying.token_file()).unwrap();
    denying.forget(&old).await;
    keeper.failed(2).await;
    assert_eq!(keeper.renewals().errors[0], ErrorKind::Unauthenticated);
    let begun = Instant::now();
    denying.prepare().await;
    keeper.renewed(1).await;
    println!("renewed {:?} after the token was replaced", begun.elapsed());
}

#[tokio::test]
async fn a_right_that_is_taken_from_the_token_is_told_and_empties_nothing() {
    let denying = Denying::prepared().await;
    let (policy, reader) = denying.policy_and_token(ALL_SERVICES).await;
    let builder = || denying.builder().token(&reader);
    let mut keeper = Keeper::start(denying.builder().build().unwrap(), node(), TTL).await;
    let mut onlooker = Onlooker::start(builder().build().unwrap(), "greeter");
    onlooker.sees(&["greeter-1"]).await;
    let seen = onlooker.seen().len();
    let name = &policy["Name"];
    let path = format!("acl/policy/{}", policy["ID"].as_str().expect("an id"));
    denying
        .change(&path, json!({"Name": name, "Rules": AGENTS_ONLY}))
        .await;
    let registry = builder().build().unwrap();
    let denied = time::timeout(LIMIT, async {
        loop {
            // The agent may know for a while what the token was allowed.
            match registry.get_service("greeter").await {
                Ok(listed) => assert_eq!(ids_of(&listed), ["greeter-1"]),
                Err(error) => return error,
            }
        }
    });
    let error = denied.await.expect("in time");
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    let mut watcher = registry.watch("greeter").await.unwrap();
    let error = watcher.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    let error = registry.list_services().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    // Something changes, so that the answer that the onlooker waits for comes.
    let beside = r#"{"ID":"greeter-2","Name":"greeter","Address":"127.0.0.1","Port":80,"Meta":{"micro-id":"greeter-2"}}"#;
    let (status, answer) = denying
        .agent()
        .request(Method::PUT, "agent/service/register", beside)
        .await
        .unwrap();
    assert!(status.is_success(), "{answer}");
    keeper.renewed(2).await;
    // And it is given back.
    denying
        .change(&path, json!({"Name": name, "Rules": ALL_SERVICES}))
        .await;
    onlooker.sees(&["greeter-1", "greeter-2"]).await;
    for snapshot in &onlooker.seen()[seen..] {
        assert_eq!(ids_of(snapshot).first(), Some(&"greeter-1"));
    }
}
