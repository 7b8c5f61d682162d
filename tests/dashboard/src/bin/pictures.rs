//! Makes the pictures of the dashboard that the documents show: `cargo xtask pictures`.

#![allow(clippy::unwrap_used, reason = "it ends at the first surprise")]

use std::{fs, path::Path};

use micro_test_dashboard::{Browser, System};

/// How large a picture may be.
const SIZE_MAX: usize = 150 * 1024;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/images");
    fs::create_dir_all(&folder).unwrap();
    let mut system = System::start();
    for id in ["greeter-1", "greeter-2", "greeter-3"] {
        system.start_node("greeter", id);
    }
    for id in ["welcome-1", "welcome-2"] {
        system.start_node("welcome", id);
    }
    let browser = Browser::start().await;
    let page = browser.open(&system.dashboard()).await;
    page.resize(1280, 720, 1.0).await;
    page.until("document.querySelectorAll('tr[data-state=ready]').length === 5")
        .await;
    system.kill_node("greeter-3");
    page.until("document.querySelector('tr[data-node=greeter-3][data-state=backoff]')")
        .await;
    page.click("[data-service=greeter] button").await;
    page.until("document.querySelector('form.call')").await;
    page.run(
        "const select = document.querySelector('#call-body select'); select.selectedIndex = 1; \
         select.dispatchEvent(new Event('change'));",
    )
    .await;
    page.fill("form.call .fields input", "Ada").await;
    page.click("form.call button[type=submit]").await;
    page.until("document.querySelector('.outcome .good')").await;
    // The node that answered has a latency from then on.
    page.until(
        "document.querySelector(`tr[data-node=${document.querySelector('[data-fact=Node] dd').textContent}] \
         td:nth-child(6)`).textContent !== ''",
    )
    .await;
    page.run("document.activeElement.blur()").await;
    for scheme in ["light", "dark"] {
        page.scheme(scheme).await;
        let picture = page.picture().await;
        assert!(picture.len() <= SIZE_MAX, "{} bytes are too many", picture.len());
        let name = match scheme {
            "light" => "dashboard.png",
            _ => "dashboard-dark.png",
        };
        fs::write(folder.join(name), picture).unwrap();
    }
    page.close().await;
}
