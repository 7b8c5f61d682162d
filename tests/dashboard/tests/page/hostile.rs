//! What strangers put into a registry, and every kind of field.

use std::sync::Arc;

use micro::registry::Memory;
use micro_dynamic::fake::{Fake, Reflection};
use micro_gateway::Settings;
use micro_test_dashboard::{Browser, Page};

use crate::support::{Front, register_as};

const MARKUP: &str = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
/// As metadata are shown.
const METADATA: &str =
    "zone=<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>";
/// The same in a name, which has no spaces.
const NAME: &str = "<img/src=x/onerror=document.title='owned'>";

async fn is_unharmed(page: &Page) {
    assert_eq!(page.text("document.title").await, "micro");
    assert_eq!(
        page.text("document.querySelectorAll('main img, main script').length")
            .await,
        "0"
    );
    let (errors, _) = page.logs().await;
    assert_eq!(errors, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn markup_in_a_registry_is_text() {
    let registry = Arc::new(Memory::default());
    let fake = Fake::start(Reflection::V1).await.unwrap();
    register_as(&registry, "shop", NAME, &fake.address().to_string(), MARKUP).await;
    register_as(&registry, "shop", "\"'`${1}\u{202e}", "127.0.0.1:1", MARKUP).await;
    register_as(&registry, "other", NAME, "127.0.0.1:2", MARKUP).await;
    let front = Front::start(&registry, Settings::exporting(["shop"]).unwrap()).await;
    let browser = Browser::start().await;
    let page = front.open(&browser).await;
    page.until("document.querySelector('[data-service=shop] tr[data-state=ready]')")
        .await;
    page.until("document.querySelector('[data-service=other] tr[data-state=listed]')")
        .await;
    for (expression, expected) in [
        (
            "document.querySelector('[data-service=shop] tr[data-state=ready] .id').textContent",
            NAME,
        ),
        (
            "document.querySelector('[data-service=shop] tr[data-state=ready] .id').title",
            METADATA,
        ),
        (
            "document.querySelector('[data-service=shop] tr[data-state=ready] .mono').textContent",
            MARKUP,
        ),
        (
            "document.querySelector('[data-service=other] tr[data-state=listed] .id').textContent",
            NAME,
        ),
    ] {
        assert_eq!(page.text(expression).await, expected, "{expression}");
    }
    // What cannot be reached says why; that text comes from outside, too.
    page.until("document.querySelector('[data-service=shop] .last:not(.empty)')")
        .await;
    is_unharmed(&page).await;
    page.resize(375, 700, 1.0).await;
    let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
    assert_eq!(page.text(overflow).await, "0");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_field_goes_from_json_into_the_form_and_back() {
    let registry = Arc::new(Memory::default());
    let fake = Fake::start(Reflection::V1).await.unwrap();
    register_as(&registry, "shop", "shop-1", &fake.address().to_string(), MARKUP).await;
    let front = Front::start(&registry, Settings::exporting(["shop"]).unwrap()).await;
    let browser = Browser::start().await;
    let page = front.open(&browser).await;
    page.until("document.querySelector('[data-service=shop] tr[data-state=ready]')")
        .await;
    page.click("[data-service=shop] button").await;
    page.until("document.querySelector('form.call')").await;
    page.run(
        "const select = document.querySelector('#call-body select'); \
         select.value = [...select.options].find((option) => option.text === 'shop.Shop/Order').value; \
         select.dispatchEvent(new Event('change'));",
    )
    .await;

    // The fields take the example, or say that they cannot show it.
    page.click(".tabs .small").await;
    let is_filled = "document.querySelectorAll('form.call .fields input').length > 5";
    page.until(is_filled).await;
    page.fill("form.call .fields input", MARKUP).await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.outcome .good')").await;
    let answer = page
        .text("document.querySelector('.replies pre').textContent")
        .await;
    assert!(answer.contains("<script>"), "{answer}");
    assert_eq!(
        page.text("document.querySelector('.outcome [data-fact=Node] dd').textContent")
            .await,
        "shop-1"
    );
    page.click(".tabs .tab:nth-child(2)").await;
    page.until("document.querySelector('form.call textarea')").await;
    page.click(".tabs .tab:nth-child(1)").await;
    page.until(is_filled).await;
    assert_eq!(page.text(FIELDS).await, "ok");
    is_unharmed(&page).await;
    page.close().await;
}

/// Values of all kinds through the fields of a message that has them, and values that are refused.
const FIELDS: &str = r#"await (async () => {
  const { Fields } = await import("./dashboard.form.js");
  const field = (json, is, more = {}) => ({ name: json, json, is, ...more });
  const messages = {
    All: [
      field("text", "string"), field("raw", "bytes"), field("flag", "bool"), field("small", "int32"),
      field("large", "uint64"), field("real", "double"), field("size", "enum", { values: ["A", "B"] }),
      field("at", "timestamp"), field("wait", "duration"), field("mask", "fieldmask"), field("any", "json"),
      field("inner", "message", { message: "All" }),
      field("list", "int64", { repeated: true }), field("inners", "message", { message: "All", repeated: true }),
      field("map", "bool", { keys: "string" }), field("byNumber", "message", { message: "All", keys: "int32" }),
      field("one", "string", { oneof: "way" }), field("two", "message", { message: "All", oneof: "way" }),
    ],
  };
  const value = {
    text: "<b>", raw: "AAE=", flag: false, small: -2147483648, large: "18446744073709551615", real: "NaN",
    size: "B", at: "2030-01-01T12:00:00Z", wait: "1.5s", mask: "a,b", any: { "@type": "x", n: [1, null] },
    inner: { inner: {} }, list: ["9223372036854775807"], inners: [{}, { text: "x" }], map: { "": true, b: false },
    byNumber: { "1": { small: 1 } }, two: { text: "y" },
  };
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const got = new Fields(messages, "All", value).get();
  if (!same(got, value)) return `${JSON.stringify(got)} is not ${JSON.stringify(value)}`;
  if (!same(new Fields(messages, "All").get(), {})) return "an empty form says something";
  if (!same(new Fields(messages, "All", { one: "" }).get(), { one: "" })) return "an empty choice is lost";
  for (const wrong of [{ small: 2147483648 }, { large: -1 }, { small: 1.5 }, { real: "x" }, { list: ["1e3"] }]) {
    try {
      new Fields(messages, "All", wrong).get();
      return `${JSON.stringify(wrong)} is not refused`;
    } catch (error) {
      if (!error.input) return String(error);
    }
  }
  return "ok";
})()"#;
