//! A token is given to the page, and to nobody but the methods that are called with it.

use std::{fs, sync::Arc};

use micro::registry::Memory;
use micro_dynamic::fake::{Fake, Reflection};
use micro_gateway::Settings;
use micro_test_dashboard::{Browser, Page};
use serde_json::json;

use crate::support::{Front, register};

/// The secret of [`TOKEN`], as a set of keys has it.
const SECRET: &str = "b25seS1mb3ItdGhpcy10ZXN0LW9mLXRoZS1kYXNoYm9hcmQh";
/// Ada's, until the year 2100: `{"sub":"ada","exp":4102444800}`.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEiLCJleHAiOjQxMDI0NDQ4MDB9.\
                     KH4juPMoJ9oCZLKQa8JtKGvadCI0crywy5njhyArah0";

/// What a call comes to.
async fn called(page: &Page) -> String {
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.outcome .good, .outcome .bad')")
        .await;
    page.text("document.querySelector('.outcome [data-fact=Status] dd').textContent")
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_under_options_is_sent_and_kept_nowhere() {
    let registry = Arc::new(Memory::default());
    let fake = Fake::start(Reflection::V1).await.unwrap();
    register(&registry, "shop", "shop-1", &fake.address().to_string()).await;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    let set = json!({ "keys": [{ "kty": "oct", "alg": "HS256", "k": SECRET }] });
    fs::write(&keys, set.to_string()).unwrap();
    let settings: Settings =
        serde_json::from_value(json!({ "export": ["shop/Shop/Order"], "tokens": { "keys": keys } })).unwrap();
    let front = Front::start(&registry, settings).await;
    let browser = Browser::start().await;
    let page = front.open(&browser).await;
    page.until("document.querySelector('[data-service=shop] tr[data-state=ready]')")
        .await;
    page.click("[data-service=shop] button").await;
    page.until("document.querySelector('form.call .fields')").await;

    assert_eq!(called(&page).await, "401 UNAUTHENTICATED");
    assert_eq!(fake.calls(), 0);
    page.click("form.call details summary").await;
    let token = "form.call input[type=password]";
    page.fill(token, "not.a.token").await;
    assert_eq!(called(&page).await, "401 UNAUTHENTICATED");
    assert_eq!(fake.calls(), 0);
    page.fill(token, TOKEN).await;
    assert_eq!(called(&page).await, "200 OK");
    assert_eq!(fake.calls(), 1);

    let kept = "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])";
    let kept = page.text(kept).await;
    assert!(!kept.contains(TOKEN), "{kept}");
    page.close().await;
}
