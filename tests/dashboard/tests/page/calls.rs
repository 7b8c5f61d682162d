//! Methods are called from the page.

use micro_test_dashboard::{Browser, Page, System};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";

/// A system with two greeters, and its page.
async fn opened(browser: &Browser, system: &mut System) -> Page {
    for id in ["greeter-1", "greeter-2"] {
        system.start_node("greeter", id);
    }
    let page = browser.open(&system.dashboard()).await;
    page.until("document.querySelectorAll('tr[data-state=ready]').length === 2")
        .await;
    page
}

/// Chooses the method whose name ends like this.
async fn choose(page: &Page, method: &str) {
    page.until("document.querySelector('#call-body select')").await;
    page.run(&format!(
        "const select = document.querySelector('#call-body select'); \
         select.value = [...select.options].find((option) => option.text.endsWith('/{method}')).value; \
         select.dispatchEvent(new Event('change'));"
    ))
    .await;
}

async fn fact(page: &Page, name: &str) -> String {
    let shown = format!("document.querySelector('.outcome [data-fact={name}] dd')?.textContent ?? ''");
    page.text(&format!("({shown})")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_calls_a_method_and_shows_the_answer_and_the_node_with_the_keyboard_alone() {
    let (browser, mut system) = (Browser::start().await, System::start());
    let page = opened(&browser, &mut system).await;
    let mut passed = Vec::new();
    loop {
        page.keys(TAB).await;
        let label = "document.activeElement.ariaLabel ?? document.activeElement.textContent";
        passed.push(page.text(label).await);
        if passed.last().unwrap() == "Call greeter" {
            break;
        }
        assert!(passed.len() < 20, "{passed:?}");
    }
    assert_eq!(passed[0], "Skip to the services");
    page.keys(ENTER).await;
    page.until("document.activeElement.tagName === 'SELECT'").await;
    page.keys("greeter.Say/Hello").await;
    page.until("document.querySelector('form.call code')?.textContent === 'POST /greeter/greeter.Say/Hello'")
        .await;
    // What the proto file says of the method and of its field.
    let about = page
        .text("document.querySelector('form.call > .help').textContent")
        .await;
    assert_eq!(about, "Greets once.");
    let about = "const input = document.querySelector('form.call .field input'); \
        return document.getElementById(input.getAttribute('aria-describedby')).textContent";
    assert_eq!(page.run(about).await, "Who is greeted; must not be empty.");
    // Over the two ways to write a request and the example to the first field.
    for _ in 0..4 {
        page.keys(TAB).await;
    }
    page.keys("Ada").await;
    page.keys(ENTER).await;
    page.until("document.querySelector('.outcome .good')").await;
    assert_eq!(fact(&page, "Status").await, "200 OK");
    let node = fact(&page, "Node").await;
    assert!(["greeter-1", "greeter-2"].contains(&node.as_str()), "{node}");
    let answer = page
        .text("document.querySelector('.replies pre').textContent")
        .await;
    assert!(answer.contains("Hello Ada"), "{answer}");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(page.text(outline).await, "solid", "the focus is to be seen");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_and_streams_and_refusals_are_shown() {
    let (browser, mut system) = (Browser::start().await, System::start());
    let page = opened(&browser, &mut system).await;
    page.click("[data-service=greeter] button").await;

    choose(&page, "Hello").await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.outcome .bad')").await;
    assert_eq!(fact(&page, "Status").await, "400 INVALID_ARGUMENT");
    assert!(fact(&page, "Node").await.starts_with("greeter-"));

    choose(&page, "Greetings").await;
    page.click(".tabs .tab:nth-child(2)").await;
    let skeleton = page
        .text("document.querySelector('form.call textarea').value")
        .await;
    assert!(skeleton.contains("\"intervalMs\": 1"), "{skeleton}");
    page.fill(
        "form.call textarea",
        "{\"name\": \"Ada\", \"count\": 3, \"intervalMs\": 50}",
    )
    .await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.outcome .good, .outcome .bad')")
        .await;
    assert_eq!(fact(&page, "Status").await, "200 OK after 3 messages");
    assert_eq!(
        page.text("document.querySelectorAll('.replies pre').length")
            .await,
        "3"
    );

    page.fill("form.call textarea", "{\"name\": ").await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('form.call .error').textContent.startsWith('The request is no JSON')")
        .await;
    page.fill(
        "form.call textarea",
        "{\"name\": \"Ada\", \"count\": 1000, \"intervalMs\": 1000}",
    )
    .await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.replies pre')").await;
    page.click(".actions button:nth-child(2)").await;
    page.until("document.querySelector('.outcome .bad')?.textContent === 'stopped'")
        .await;
    page.close().await;
}
