//! What the page loads, how it looks on small and on dark screens, and what it is to those who do not see it.

use micro_test_dashboard::{Browser, System};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_loads_nothing_from_elsewhere_fits_a_phone_and_has_a_name_for_everything() {
    let mut system = System::start();
    for id in ["greeter-1", "greeter-2"] {
        system.start_node("greeter", id);
    }
    let browser = Browser::start().await;
    let page = browser.open(&system.dashboard()).await;
    page.until("document.querySelectorAll('tr[data-state=ready]').length === 2")
        .await;
    page.until("document.querySelector('[data-service=gateway] tr[data-state=listed]')")
        .await;
    page.click("[data-service=greeter] button").await;
    page.until("document.querySelector('form.call input')").await;

    let (errors, requests) = page.logs().await;
    assert_eq!(errors, [""; 0]);
    assert!(requests.len() >= 8, "{requests:?}");
    // The browser's own first page is no request of ours.
    let is_elsewhere = |url: &&String| !url.starts_with(&system.origin()) && !url.starts_with("data:,");
    let elsewhere: Vec<_> = requests.iter().filter(is_elsewhere).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");

    for (role, name) in page.accessible().await {
        let needs_name = [
            "button", "textbox", "combobox", "link", "heading", "table", "form", "img",
        ];
        // An image without a name is decoration, and is not among these.
        assert!(
            !needs_name.contains(&role.as_str()) || !name.is_empty(),
            "a {role} without a name"
        );
    }
    let facts = "[document.documentElement.lang, document.title, document.querySelectorAll('h1').length, \
                 document.querySelectorAll('main').length].join()";
    assert_eq!(page.text(facts).await, "en,micro,1,1");

    for scheme in ["light", "dark"] {
        page.scheme(scheme).await;
        for (width, height) in [(375, 700), (768, 1024), (1280, 800)] {
            page.resize(width, height, 1.0).await;
            let overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert_eq!(page.text(overflow).await, "0", "{scheme} at {width}");
        }
        let ground = page.text("getComputedStyle(document.body).backgroundColor").await;
        let parts = ground
            .trim_start_matches("rgb(")
            .trim_end_matches(')')
            .split(", ");
        let brightness: u32 = parts.map(|part| part.parse::<u32>().unwrap()).sum();
        assert_eq!(brightness > 3 * 128, scheme == "light", "{scheme}: {ground}");
        let contrast = page.text(CONTRAST).await;
        assert_eq!(contrast, "", "{scheme}: texts that are hard to read");
    }
    page.close().await;
}

/// Texts whose contrast with what is behind them is less than 4.5, as WCAG 2 measures it.
const CONTRAST: &str = r#"(() => {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((part) => part / 255)
      .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!hasText || !element.checkVisibility() || element.matches("script, noscript *, option")) continue;
    const [one, other] = [light(getComputedStyle(element).color), light(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) found.push(`${element.textContent.trim().slice(0, 30)}: ${contrast.toFixed(2)}`);
  }
  return found.join("; ");
})()"#;
