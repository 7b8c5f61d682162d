//! The page follows what happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use micro_test_dashboard::{Browser, System, eventually};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How soon the page shows that a node was killed, from the kill to the change of the page by the page's own clock.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);
/// How often that is tried: on a machine that has other things to do, one of them counts that was not held up.
const KILLS_MAX: usize = 3;

/// Posts as `curl -d` would, and returns the answer.
async fn post(address: &str, path: &str, json: &str) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(address).await?;
    let length = json.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{json}"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_a_node_that_dies_and_comes_back_while_no_request_fails() {
    let mut system = System::start();
    for id in ["greeter-1", "greeter-2", "greeter-3"] {
        system.start_node("greeter", id);
    }
    let browser = Browser::start().await;
    let page = browser.open(&system.dashboard()).await;
    page.until("document.querySelectorAll('[data-service=greeter] tr[data-state=ready]').length === 3")
        .await;
    assert_eq!(
        page.text("document.getElementById('connection').textContent")
            .await,
        "live"
    );

    let address = system.origin().replace("http://", "");
    let (ended, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (stop, count) = (Arc::clone(&ended), Arc::clone(&answered));
    let load = tokio::spawn(async move {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match post(&address, "/greeter/say/hello", r#"{"name":"Ada"}"#).await {
                Ok(answer) if answer.starts_with("HTTP/1.1 200 ") => {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                other => failures.push(other),
            }
        }
        failures
    });
    eventually("requests are answered", async || {
        answered.load(Ordering::Relaxed) > 20
    })
    .await;

    let is_ready = "document.querySelector('tr[data-node=greeter-2]')?.dataset.state === 'ready'";
    let mut fastest = Duration::MAX;
    for _ in 0..KILLS_MAX {
        page.run(&format!(
            "window.gone = undefined; window.looking?.disconnect(); window.looking = new MutationObserver(() => {{ \
             if (!({is_ready})) window.gone ??= Date.now(); }}); window.looking.observe(document.body, \
             {{ subtree: true, childList: true, attributes: true, characterData: true }});"
        ))
        .await;
        let killed = SystemTime::now();
        system.kill_node("greeter-2");
        page.until("window.gone !== undefined").await;
        let shown: u64 = page.text("String(window.gone)").await.parse().unwrap();
        let shown = UNIX_EPOCH + Duration::from_millis(shown);
        // The page's clock is the same, but counts milliseconds.
        let took = shown.duration_since(killed).unwrap_or_default();
        println!("the page showed after {took:?} that a node was killed");
        fastest = fastest.min(took);
        let log = "document.getElementById('log').textContent";
        page.until(&format!("{log}.includes('greeter-2')")).await;

        system.start_node("greeter", "greeter-2");
        let back = page.until(is_ready).await;
        println!("and after {back:?} that it was started again");
        if fastest <= SHOWN_WITHIN {
            break;
        }
    }
    assert!(fastest <= SHOWN_WITHIN, "{fastest:?}");
    ended.store(true, Ordering::Relaxed);
    let failures = load.await.unwrap();
    assert!(failures.is_empty(), "{failures:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_says_that_it_is_not_connected_and_connects_again_by_itself() {
    let mut system = System::start();
    system.start_node("greeter", "greeter-1");
    let browser = Browser::start().await;
    let page = browser.open(&system.dashboard()).await;
    let ready = "document.querySelector('tr[data-node=greeter-1][data-state=ready]')";
    let live = "document.getElementById('connection').dataset.state === 'live'";
    page.until(ready).await;
    page.until(live).await;
    for is_killed in [true, false] {
        // Pages that look on do not hold up a gateway that stops: this would take as long as its drain.
        if is_killed {
            system.kill_gateway();
        } else {
            system.stop_gateway().await;
        }
        page.until("document.getElementById('connection').textContent.startsWith('not connected')")
            .await;
        // What was known stays to be seen.
        page.until("document.querySelector('tr[data-node=greeter-1]')")
            .await;
        system.start_gateway();
        page.until(live).await;
        page.until(ready).await;
    }
    page.close().await;
}
