//! `micro bench`.

use micro_dynamic::fake::Reflection;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    running::{Running, eventually},
    support::Shop,
};

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_made_at_the_rate_and_reported() {
    let shop = Shop::start(Reflection::V1).await;
    let measured = ["bench", "shop", "Look", "--rate", "200", "--duration", "500ms"];
    let ended = shop.run(&measured).await;
    assert_eq!(ended.code, 0, "{}", ended.errors);
    assert!(ended.output.starts_with("100 calls in "), "{}", ended.output);
    assert!(ended.output.contains("p99.9 "), "{}", ended.output);

    let ended = shop.run(&[&measured[..], &["--json"]].concat()).await;
    let report: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!((&report["calls"], &report["failed"]), (&100.into(), &0.into()));
    let answered = report["nodes"].as_object().unwrap().values();
    assert_eq!(answered.map(|calls| calls.as_u64().unwrap()).sum::<u64>(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_made_although_none_is_answered() {
    let shop = Shop::start(Reflection::V1).await;
    let command = shop.micro(&[
        "bench",
        "shop",
        "Look",
        r#"{"name":"sloth"}"#,
        "--rate",
        "20",
        "--duration",
        "1h",
        "--timeout",
        "1h",
    ]);
    let ended = tokio::task::block_in_place(|| {
        let mut bench = Running::start(command);
        eventually(|| shop.open() >= 30);
        bench.signal(Signal::SIGINT);
        bench.exit_code()
    });
    assert_eq!(ended, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_and_streams_refused() {
    let shop = Shop::start(Reflection::V1).await;
    let nobody = [
        "bench",
        "shop",
        "Look",
        r#"{"name":"nobody"}"#,
        "--duration",
        "100ms",
    ];
    let ended = shop.run(&nobody).await;
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .output
            .contains("10 \u{d7} NOT_FOUND, the first: there is nobody"),
        "{}",
        ended.output
    );
    assert!(ended.errors.contains("10 of 10 calls failed"), "{}", ended.errors);

    let ended = shop.run(&["bench", "shop", "Track"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("is a stream"), "{}", ended.errors);
    let ended = shop.run(&["bench", "shop", "Look", "--rate", "0"]).await;
    assert_eq!(ended.code, 2);
}
