//! Who may call with which token, and what of it reaches the server.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, header};
use http_body::Frame;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use tonic::body::Body;
use tower::ServiceExt;

use super::support::{Answer, Shop, send};

const EC: &[u8] = include_bytes!("keys/ec.pem");
pub(super) const EC_PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/keys/ec.pub.pem");
const ADA: &str = r#"{"name":"Ada"}"#;

/// What a request says that has a token with these claims, beside who it is and how long that holds.
pub(super) fn token(claims: &Value) -> String {
    let mut all = json!({ "sub": "ada", "exp": get_current_timestamp() + 600 });
    all.as_object_mut()
        .unwrap()
        .extend(claims.as_object().unwrap().clone());
    let key = EncodingKey::from_ec_pem(EC).unwrap();
    format!(
        "Bearer {}",
        encode(&Header::new(Algorithm::ES256), &all, &key).unwrap()
    )
}

/// A shop whose callers need tokens.
pub(super) async fn shop(tokens: &str) -> Shop {
    let table = format!(
        "export = ['shop']\nforward = ['authorization', 'x-user']\n[tokens]\nkeys = '{EC_PUBLIC}'\n{tokens}"
    );
    Shop::with(toml::from_str(&table).unwrap()).await
}

async fn call(shop: &Shop, path: &str, authorization: &str, body: &str) -> Answer {
    let request = Request::post(path)
        .header("authorization", authorization)
        .header("x-user", "root");
    send(&shop.gateway, request, body).await
}

#[tokio::test]
async fn without_a_token_that_holds_there_is_nothing() {
    let shop = shop("").await;
    let expired = token(&json!({ "exp": get_current_timestamp() - 600 }));
    let huge = format!("Bearer {}", "a".repeat(20_000));
    for (authorization, challenge) in [
        ("", "Bearer"),
        ("Basic YTpi", "Bearer"),
        ("Bearer", "Bearer"),
        ("Bearer x.y.z", "Bearer error=\"invalid_token\""),
        (
            &expired,
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
        ),
        (&huge, "Bearer error=\"invalid_token\""),
    ] {
        for path in [
            "/shop/shop/order",
            "/shop/shop/nothing",
            "/nobody/x/y",
            "/v1/books/7",
        ] {
            let answer = call(&shop, path, authorization, ADA).await;
            assert_eq!(answer.status, 401, "{path} {authorization}");
            let challenged = answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenged.starts_with(challenge), "{challenged}");
            assert_eq!(answer.json()["code"], 16);
        }
    }
    let two = Request::post("/shop/shop/order")
        .header("authorization", token(&json!({})))
        .header("authorization", "Bearer x.y.z");
    assert_eq!(send(&shop.gateway, two, ADA).await.status, 401);
    // Nobody was asked, not even what there is.
    assert_eq!(shop.fake.calls() + shop.fake.reflections(), 0);
    assert_eq!(
        call(&shop, "/shop/shop/order", &token(&json!({})), ADA)
            .await
            .status,
        200
    );
    assert_eq!(
        call(&shop, "/shop/shop/nothing", &token(&json!({})), ADA)
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn what_is_open_needs_no_token_and_what_has_a_scope_needs_that() {
    let shop =
        shop("open = ['shop/Shop/Look']\n[tokens.scopes]\n'shop' = 'shop'\n'shop/Shop/Track' = 'track'")
            .await;
    assert_eq!(call(&shop, "/shop/shop/look", "", ADA).await.status, 200);
    assert_eq!(
        call(&shop, "/shop/shop/look", "Bearer x.y.z", ADA).await.status,
        200
    );
    assert_eq!(call(&shop, "/shop/shop/order", "", ADA).await.status, 401);
    for (claims, order, track) in [
        (json!({}), 403, 403),
        (json!({ "scope": "shopping" }), 403, 403),
        (json!({ "scope": "a shop b" }), 200, 403),
        (json!({ "scp": ["shop", "track"] }), 200, 200),
        (json!({ "scope": "track" }), 403, 403),
    ] {
        let token = token(&claims);
        let answered = call(&shop, "/shop/shop/order", &token, ADA).await;
        assert_eq!(answered.status, order, "{claims}");
        if order == 403 {
            assert_eq!(
                answered.headers[header::WWW_AUTHENTICATE],
                "Bearer error=\"insufficient_scope\", scope=\"shop\""
            );
        }
        assert_eq!(
            call(&shop, "/shop/shop/track", &token, ADA).await.status,
            track,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn only_the_claims_that_are_named_reach_the_server_and_nobody_else_says_them() {
    let shop = shop("open = ['shop/Shop/Look']\nforward = { sub = 'x-user', roles = 'x-roles' }").await;
    let metadata = async |path: &str, authorization: &str| {
        let answer = call(
            &shop,
            path,
            authorization,
            r#"{"name":"x-user,x-roles,x-secret"}"#,
        )
        .await;
        answer.json()["message"].as_str().unwrap_or_default().to_owned()
    };
    let with_claims = token(&json!({ "roles": ["a", "b"], "secret": "s" }));
    assert_eq!(
        metadata("/shop/shop/order", &with_claims).await,
        "x-user=ada x-roles=[\"a\",\"b\"] x-secret="
    );
    // The request says `x-user: root` itself, which is for claims alone to say.
    assert_eq!(
        metadata("/shop/shop/look", "").await,
        "x-user= x-roles= x-secret="
    );
    let odd = token(&json!({ "sub": "a\nb" }));
    assert_eq!(call(&shop, "/shop/shop/order", &odd, ADA).await.status, 403);
}

#[tokio::test]
async fn no_byte_of_the_body_is_read_before_the_token_holds() {
    struct Counted(Arc<AtomicUsize>);
    impl http_body::Body for Counted {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(None)
        }
    }
    let shop = shop("open = ['shop/Shop/Look']").await;
    let read = Arc::<AtomicUsize>::default();
    let mut status = Vec::new();
    for authorization in ["", "Bearer x.y.z", &token(&json!({}))] {
        let request = Request::post("/shop/shop/order").header("host", "localhost");
        let request = request.header("authorization", authorization);
        let request = request.body(Body::new(Counted(Arc::clone(&read)))).unwrap();
        status.push((
            shop.gateway
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .as_u16(),
            read.load(Ordering::Relaxed),
        ));
    }
    assert_eq!(status, [(401, 0), (401, 0), (200, 1)]);
}

#[tokio::test]
async fn clients_are_told_apart_by_subject() {
    let table = format!(
        "export = ['shop']\nrate_limit = {{ calls_per_second = 1, by = 'subject' }}\n[tokens]\nkeys = '{EC_PUBLIC}'"
    );
    let shop = Shop::with(toml::from_str(&table).unwrap()).await;
    let mut first = 0;
    for subject in 0..20 {
        let answer = call(
            &shop,
            "/shop/shop/order",
            &token(&json!({ "sub": subject.to_string() })),
            ADA,
        )
        .await;
        first += usize::from(answer.status == 200);
    }
    assert_eq!(first, 20);
    let ada = token(&json!({}));
    let mut refused = 0;
    for _ in 0..50 {
        refused += usize::from(call(&shop, "/shop/shop/order", &ada, ADA).await.status == 429);
    }
    assert!(refused > 0);
}
