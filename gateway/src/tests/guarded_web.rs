//! What holds for JSON holds for gRPC-Web: tokens, what of them is told to servers, and how much a client may send.

use http::header;
use http_body_util::BodyExt;
use jsonwebtoken::get_current_timestamp;
use serde_json::json;

use super::{
    browser::{BINARY, begin, order, read, send, status, status_of},
    support::{LONG, Shop, until},
    tokens::{EC_PUBLIC, shop, token},
};
use crate::Settings;

const PATHS: [&str; 3] = ["/shop.Shop/Order", "/shop/shop.Shop/Order", "/shop.Shop/Track"];

async fn limited(table: &str) -> Shop {
    Shop::with(toml::from_str(&format!("export = ['shop']\n{table}")).unwrap()).await
}

#[tokio::test]
async fn without_a_token_that_holds_a_call_is_refused() {
    let shop = shop("").await;
    let expired = token(&json!({ "exp": get_current_timestamp() - 600 }));
    for (authorization, challenge) in [
        ("", "Bearer"),
        ("Basic YTpi", "Bearer"),
        ("Bearer x.y.z", "Bearer error=\"invalid_token\""),
        (&expired, "Bearer error=\"invalid_token\""),
    ] {
        for path in PATHS.iter().chain(&["/shop.Shop/Nothing", "/nobody.X/Y"]) {
            let sent = [("authorization", authorization)];
            let answer = send(&shop, path, BINARY, order("Ada"), &sent).await;
            let headers = answer.headers();
            assert_eq!(
                (answer.status().as_u16(), &headers["grpc-status"]),
                (200, &"16".parse().unwrap()),
                "{path} {authorization}"
            );
            assert_eq!(headers[header::CONTENT_TYPE], BINARY);
            let challenged = headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenged.starts_with(challenge), "{challenged}");
            assert!(answer.body().is_empty(), "{answer:?}");
        }
    }
    // Nobody was asked, not even what there is.
    assert_eq!(shop.fake.calls() + shop.fake.reflections(), 0);
    let good = token(&json!({}));
    for path in PATHS {
        let answer = send(&shop, path, BINARY, order("Ada"), &[("authorization", &good)]).await;
        assert_eq!(status_of(&answer), "0", "{path}");
        let (messages, _) = read(answer.body());
        assert!(
            messages.iter().all(|message| message == "Hello Ada"),
            "{messages:?}"
        );
    }
}

#[tokio::test]
async fn what_is_open_needs_no_token_and_what_has_a_scope_needs_that() {
    let shop = shop("open = ['shop/Shop/Look']\n[tokens.scopes]\n'shop/Shop/Track' = 'track'").await;
    let ended = async |path: &str, authorization: &str| {
        status(&shop, path, order("Ada"), &[("authorization", authorization)]).await
    };
    let (plain, scoped) = (token(&json!({})), token(&json!({ "scope": "a track" })));
    for (path, authorization, expected) in [
        ("/shop.Shop/Look", "", "0"),
        ("/shop.Shop/Order", "", "16"),
        ("/shop.Shop/Order", &plain, "0"),
        ("/shop.Shop/Track", &plain, "7"),
        ("/shop/shop.Shop/Track", &plain, "7"),
        ("/shop.Shop/Track", &scoped, "0"),
    ] {
        assert_eq!(
            ended(path, authorization).await,
            expected,
            "{path} {authorization}"
        );
    }
}

#[tokio::test]
async fn only_the_claims_that_are_named_reach_the_server_and_nobody_else_says_them() {
    let shop = shop("open = ['shop/Shop/Look']\nforward = { sub = 'x-user', roles = 'x-roles' }").await;
    let metadata = async |path: &str, authorization: &str| {
        let sent = [("authorization", authorization), ("x-user", "root")];
        let answer = send(&shop, path, BINARY, order("x-user,x-roles,x-secret"), &sent).await;
        read(answer.body()).0
    };
    let with_claims = token(&json!({ "roles": ["a", "b"], "secret": "s" }));
    let told = "x-user=ada x-roles=[\"a\",\"b\"] x-secret=";
    assert_eq!(metadata("/shop.Shop/Order", &with_claims).await, [told]);
    assert_eq!(metadata("/shop.Shop/Track", &with_claims).await, [told; 3]);
    // The request says `x-user: root` itself, which is for claims alone to say.
    let nothing = "x-user= x-roles= x-secret=";
    assert_eq!(metadata("/shop.Shop/Look", "").await, [nothing]);
    let odd = token(&json!({ "sub": "a\nb" }));
    let sent = [("authorization", odd.as_str())];
    assert_eq!(status(&shop, "/shop.Shop/Order", order("Ada"), &sent).await, "7");
}

#[tokio::test]
async fn a_client_that_sends_too_much_is_told_when_to_come_back() {
    let shop = limited("rate_limit = { calls_per_second = 1, burst = 3 }").await;
    let mut refused = None;
    // Three at once, and one more for each second that this takes.
    for _ in 0..1000 {
        let answer = send(&shop, "/shop.Shop/Order", BINARY, order("Ada"), &[]).await;
        if status_of(&answer) == "8" {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a thousand requests are more than three");
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert!(shop.fake.calls() >= 3);
}

#[tokio::test]
async fn clients_are_told_apart_by_subject() {
    let shop = limited(&format!(
        "rate_limit = {{ calls_per_second = 1, by = 'subject' }}\n[tokens]\nkeys = '{EC_PUBLIC}'"
    ))
    .await;
    let call = async |subject: &str| {
        let token = token(&json!({ "sub": subject }));
        let sent = [("authorization", token.as_str())];
        status(&shop, "/shop.Shop/Order", order("Ada"), &sent).await
    };
    for subject in 0..20 {
        assert_eq!(call(&subject.to_string()).await, "0");
    }
    let mut refused = 0;
    for _ in 0..1000 {
        refused += u32::from(call("ada").await == "8");
        if refused > 0 {
            break;
        }
    }
    assert!(refused > 0);
}

#[tokio::test]
async fn calls_above_the_limit_are_refused_until_one_has_ended() {
    let shop = Shop::with(Settings::exporting(["shop"]).unwrap().calls_max(1)).await;
    let mut open = begin(&shop, "/shop.Shop/Track", BINARY, order("endless"), &[]).await;
    let first = tokio::time::timeout(LONG, open.body_mut().frame()).await.unwrap();
    assert!(first.unwrap().is_ok());
    let full = send(&shop, "/shop.Shop/Order", BINARY, order("Ada"), &[]).await;
    assert_eq!(status_of(&full), "14");
    assert_eq!(full.headers()[header::RETRY_AFTER], "1");
    assert_eq!(shop.fake.calls(), 1);
    drop(open);
    until("the call ends on the server", || async { shop.fake.open() == 0 }).await;
    assert_eq!(status(&shop, "/shop.Shop/Order", order("Ada"), &[]).await, "0");
}
