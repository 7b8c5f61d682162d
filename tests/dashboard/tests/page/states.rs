//! What the page shows of nodes, of their calls and of the registry as it changes.

use std::sync::Arc;

use micro::{
    Policy,
    registry::{Memory, Registry},
};
use micro_dynamic::fake::{Fake, Reflection};
use micro_gateway::Settings;
use micro_test_dashboard::{Browser, Page, System, eventually};
use micro_test_servers::Consul;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Front, register};

const ADA: &str = r#"{"name":"Ada"}"#;

/// Sends a request to the shop, and leaves the answer to whoever reads it.
async fn ask(front: &Front, method: &str, json: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&front.address).await.unwrap();
    let (host, length) = (&front.address, json.len());
    let request = format!(
        "POST /shop/shop/{method} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\nx-request-timeout: 10m\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// The text of a cell of a node.
fn cell(id: &str, label: &str) -> String {
    format!("document.querySelector('tr[data-node={id}] [data-label=\"{label}\"]').textContent")
}

/// Waits until the state of a node is this, and its words are so.
async fn is_in_state(page: &Page, id: &str, state: &str, words: &str) {
    let row = format!("document.querySelector('tr[data-node={id}][data-state={state}] .state')");
    page.until(&format!("/^{words}$/.test({row}?.textContent)")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_is_counted_and_how_long_it_waits_is_seen() {
    let registry = Arc::new(Memory::default());
    let fake = Fake::start(Reflection::V1).await.unwrap();
    register(&registry, "shop", "shop-1", &fake.address().to_string()).await;
    let settings: Settings =
        serde_json::from_value(json!({ "export": ["shop"], "timeout_max": "10m" })).unwrap();
    let front = Front::start(&registry, settings).await;
    let browser = Browser::start().await;
    let page = front.open(&browser).await;
    is_in_state(&page, "shop-1", "ready", "ready").await;
    let flying = cell("shop-1", "In flight");
    let all = "[...document.querySelectorAll('#facts div')].find((fact) => fact.textContent.startsWith('calls in flight'))\
               .querySelector('dd').textContent";
    assert_eq!(page.text(&flying).await, "0");
    assert_eq!(page.text(all).await, "0");

    let waiting = [
        ask(&front, "order", r#"{"name":"sloth"}"#).await,
        ask(&front, "order", r#"{"name":"sloth"}"#).await,
    ];
    page.until(&format!("{flying} === '2' && {all} === '2'")).await;
    // Nothing was answered yet: the latency is what there is of it.
    page.until(&format!("/^[0-9]+ s$/.test({})", cell("shop-1", "Latency")))
        .await;
    drop(waiting);
    page.until(&format!("{flying} === '0' && {all} === '0'")).await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fail_that_do_not_serve_and_that_are_held_are_said_to_be_so() {
    let registry = Arc::new(Memory::default());
    let ids = ["shop-1", "shop-2", "shop-3"];
    let mut fakes = Vec::new();
    for id in ids {
        let fake = Fake::start(Reflection::V1).await.unwrap();
        register(&registry, "shop", id, &fake.address().to_string()).await;
        fakes.push(fake);
    }
    let settings = Settings::exporting(["shop"]).unwrap();
    let front = Front::start_with(&registry, settings, |builder| {
        // Whatever a node answers, it gets its turn.
        builder.client(|client| client.health_watch(true).policy(Policy::RoundRobin))
    })
    .await;
    let browser = Browser::start().await;
    let page = front.open(&browser).await;
    for id in ids {
        is_in_state(&page, id, "ready", "ready").await;
    }

    fakes[1].serve(false).await;
    is_in_state(&page, "shop-2", "not_serving", "not serving").await;
    fakes[1].serve(true).await;
    is_in_state(&page, "shop-2", "ready", "ready").await;

    fakes[0].refuse(true);
    let ejected = "document.querySelector('tr[data-node=shop-1][data-state=ejected] .state')?.textContent";
    let mut said = String::new();
    eventually("it is ejected", async || {
        for _ in 0..10 {
            let mut answer = String::new();
            ask(&front, "look", ADA)
                .await
                .read_to_string(&mut answer)
                .await
                .unwrap();
        }
        said = page.text(ejected).await;
        said != "undefined"
    })
    .await;
    let (word, left) = said.split_once(", ").unwrap();
    assert!(word == "ejected" && left.ends_with(" left"), "{said}");
    assert!(
        page.text(&cell("shop-1", "Last error"))
            .await
            .contains("it is down")
    );
    fakes[0].refuse(false);
    is_in_state(&page, "shop-1", "ready", "ready").await;

    // Most of them: the registry is not believed while they can be called. One of three that goes by itself may be.
    let nodes = registry.get_service("shop").await.unwrap();
    for node in nodes.nodes().iter().filter(|node| node.id() != "shop-3") {
        registry.deregister(node).await.unwrap();
    }
    is_in_state(&page, "shop-2", "ready", "ready, held").await;
    is_in_state(&page, "shop-3", "ready", "ready").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_is_away_is_told_of_while_the_snapshot_grows_old() {
    let consul = Consul::builder().start().await.unwrap();
    let mut system = System::start_in(consul.variables());
    system.start_node("greeter", "greeter-1");
    let browser = Browser::start().await;
    let page = browser.open(&system.dashboard()).await;
    is_in_state(&page, "greeter-1", "ready", "ready").await;
    let age = "document.querySelector('[data-service=greeter] .age').textContent";
    let is_told = format!("/^snapshot [0-9]+ (µs|ms|s) old$/.test({age})");
    page.until(&is_told).await;
    let trouble = "document.getElementById('trouble')";
    assert_eq!(page.text(&format!("{trouble}.hidden")).await, "true");

    consul.kill();
    page.until(&format!("!{trouble}.hidden")).await;
    let told = page.text(&format!("{trouble}.textContent")).await;
    let begin = "The registry does not say which services there are: ";
    assert!(told.starts_with(begin) && told.len() > begin.len(), "{told}");
    // Of the service, too; and its node is called as before.
    let error = "document.querySelector('[data-service=greeter] .error')";
    page.until(&format!("!{error}.hidden && {error}.textContent !== ''"))
        .await;
    is_in_state(&page, "greeter-1", "ready", "ready").await;
    let seconds = format!("Number(/^snapshot ([0-9]+) s old$/.exec({age})?.[1])");
    page.until(&format!("{seconds} >= 1")).await;
    let before: u64 = page.text(&seconds).await.parse().unwrap();
    page.until(&format!("{seconds} >= {}", before + 2)).await;

    consul.start_again().await.unwrap();
    page.until(&format!("{trouble}.hidden && {error}.hidden")).await;
    is_in_state(&page, "greeter-1", "ready", "ready").await;
    page.close().await;
}
