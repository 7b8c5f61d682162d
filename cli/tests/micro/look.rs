//! `micro services`, `describe`, `health` and `endpoints`, and what holds for all commands.

use std::process::{Command, Stdio};

use micro_dynamic::fake::Reflection;
use serde_json::{Value, json};

use crate::{
    running::Running,
    support::{Shop, micro, run},
};

#[tokio::test(flavor = "multi_thread")]
async fn services_are_listed_one_a_line_or_as_json() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop.run(&["services"]).await;
    assert_eq!(
        (ended.code, ended.output.as_str(), ended.errors.as_str()),
        (0, "shop\n", "")
    );
    let ended = shop.run(&["services", "--json"]).await;
    assert_eq!(
        serde_json::from_str::<Value>(&ended.output).unwrap(),
        json!(["shop"])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_shows_nodes_methods_and_fields() {
    let shop = Shop::start(Reflection::V1AlphaOnly).await;
    let ended = shop.run(&["describe", "shop"]).await;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    for part in [
        "NODE ",
        "shop.Shop/Chat      stream shop.OrderRequest  ->  stream shop.OrderReply\n",
        "message shop.OrderRequest\n",
        "  byShop      map<string, money.Money>\n",
        "  streetName  string, one of way\n",
        "message money.Money\n",
        "enum shop.Size\n  SIZE_UNSPECIFIED\n",
    ] {
        assert!(ended.output.contains(part), "{part}\n{}", ended.output);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_as_json_has_the_same() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop.run(&["describe", "shop", "--json"]).await;
    let shown: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(
        (&shown["service"], &shown["registry"]),
        (&json!("shop"), &json!("static"))
    );
    assert_eq!(shown["nodes"].as_array().unwrap().len(), 1);
    let track = json!({
        "service": "shop.Shop",
        "name": "Track",
        "request": "shop.OrderRequest",
        "response": "shop.OrderReply",
        "clientStreaming": false,
        "serverStreaming": true,
    });
    assert!(shown["methods"].as_array().unwrap().contains(&track), "{shown}");
    let units = json!({ "name": "units", "type": "int64", "repeated": false });
    assert_eq!(shown["messages"]["money.Money"][1], units);
    assert_eq!(shown["enums"]["shop.Size"][2], "SIZE_LARGE");
}

#[tokio::test(flavor = "multi_thread")]
async fn describe_of_a_service_without_reflection_shows_its_nodes_and_says_so() {
    let shop = Shop::start(Reflection::None).await;
    let ended = shop.run(&["describe", "shop"]).await;
    assert_eq!(ended.code, 0);
    assert!(ended.output.starts_with("NODE"), "{}", ended.output);
    assert!(
        ended.errors.contains("`shop` has no reflection"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_each_node_and_fails_unless_all_are_serving() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop.run(&["health", "shop"]).await;
    assert_eq!(ended.code, 0, "{}", ended.errors);
    assert!(ended.output.contains("SERVING"), "{}", ended.output);

    let ended = run(beside_one_that_is_away(&shop, &["health", "shop", "--json"]), "").await;
    assert_eq!(ended.code, 1);
    let reports: Value = serde_json::from_str(&ended.output).unwrap();
    assert_eq!(reports[0]["error"]["code"], "UNAVAILABLE", "{reports}");
    assert_eq!(reports[1]["status"], "SERVING", "{reports}");
    assert!(
        ended.errors.contains("1 of 2 nodes of `shop` not serving"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_shown_as_a_client_sees_them_and_it_fails_unless_all_are_ready() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop.run(&["endpoints", "shop"]).await;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""));
    let mut lines = ended.output.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    let columns = [
        "NODE",
        "VERSION",
        "ADDRESS",
        "STATE",
        "CONNECTIONS",
        "LATENCY",
        "CALLS",
        "LAST",
        "ERROR",
    ];
    assert_eq!(header, columns);
    let row: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    let [state, connections, latency, calls] = row[row.len() - 4..] else {
        panic!("{row:?}");
    };
    // The shop has no page that tells of its calls.
    assert_eq!((state, connections, calls), ("ready", "1", "-"), "{row:?}");
    let latency: f64 = latency.strip_suffix("ms").unwrap().parse().unwrap();
    assert!(latency >= 0.0, "{latency}");

    let ended = run(
        beside_one_that_is_away(&shop, &["endpoints", "shop", "--json"]),
        "",
    )
    .await;
    assert_eq!(ended.code, 1);
    let shown: Value = serde_json::from_str(&ended.output).unwrap();
    let away = |endpoint: &&Value| endpoint["address"] == "127.0.0.1:1";
    let [away, there] = [
        shown.as_array().unwrap().iter().find(away).unwrap(),
        shown
            .as_array()
            .unwrap()
            .iter()
            .find(|shown| !away(shown))
            .unwrap(),
    ];
    // It may be at its next try by now.
    assert!(
        away["state"] == "backoff" || away["state"] == "connecting",
        "{away}"
    );
    let error = away["lastError"].as_str().unwrap();
    assert!(error.contains("refused"), "{error}");
    assert!(away["lastErrorAgeMs"].as_f64().unwrap() >= 0.0, "{away}");
    assert!(away.get("latencyMs").is_none() && there["latencyMs"].as_f64().unwrap() > 0.0);
    assert_eq!(
        (&there["state"], &there["connections"]),
        (&json!("ready"), &json!(1))
    );
    assert!(there.get("lastError").is_none(), "{there}");
    let errors: Value = serde_json::from_str(&ended.errors).unwrap();
    assert!(
        errors.to_string().contains("1 of 2 nodes of `shop` not ready"),
        "{errors}"
    );

    let ended = shop.run(&["endpoints", "shoe"]).await;
    assert_eq!((ended.code, ended.output.as_str()), (78, ""));
    assert!(ended.errors.contains("no nodes of `shoe`"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_json_what_is_no_result_is_json_too() {
    let (shop, bare) = (
        Shop::start(Reflection::V1).await,
        Shop::start(Reflection::None).await,
    );
    // Where no other test announces anything.
    let empty = format!("127.0.0.1:{}", 10_000 + std::process::id() % 10_000);
    let nothing = ["services", "--registry-address", &empty, "--json"];
    let measured = [
        "bench",
        "shop",
        "Look",
        "--rate",
        "100",
        "--duration",
        "50ms",
        "--json",
    ];
    let parsed =
        |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    for (ended, said) in [
        (
            bare.run(&["describe", "shop", "--json"]).await,
            "has no reflection",
        ),
        (shop.run(&measured).await, "calling Look of `shop`"),
        (run(micro(&nothing), "").await, "no services in mdns"),
    ] {
        assert_eq!(ended.code, 0, "{}", ended.errors);
        assert!(ended.errors.contains(said), "{}", ended.errors);
        ended
            .errors
            .lines()
            .for_each(|line| assert!(parsed(line).is_object()));
        parsed(&ended.output);
    }
    let away = [
        "watch",
        "--registry",
        "consul",
        "--registry-address",
        "127.0.0.1:1",
        "--json",
    ];
    let said =
        tokio::task::spawn_blocking(move || Running::start(micro(&away)).errors_until("list the services"));
    let said = said.await.unwrap();
    assert_eq!(parsed(&said[0])["error"]["code"], "UNAVAILABLE", "{said:?}");
}

/// The binary, where the shop has another node that nobody listens at.
fn beside_one_that_is_away(shop: &Shop, arguments: &[&str]) -> Command {
    let mut command = shop.micro(arguments);
    let address = command
        .get_envs()
        .find(|(name, _)| *name == "MICRO_REGISTRY_ADDRESS")
        .unwrap()
        .1
        .unwrap();
    let address = format!("{},shop=127.0.0.1:1", address.to_str().unwrap());
    command.env("MICRO_REGISTRY_ADDRESS", address);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_memory_registry_is_refused_with_the_reason() {
    for arguments in [
        &["services", "--registry", "memory"][..],
        &["--registry", "memory", "call", "shop", "Order"],
        &["run", env!("CARGO_MANIFEST_DIR"), "--registry", "memory"],
    ] {
        let ended = run(micro(arguments), "").await;
        assert_eq!(ended.code, 2);
        assert!(
            ended.errors.contains("private to the process"),
            "{}",
            ended.errors
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_registry_lists_those_there_are() {
    let ended = run(micro(&["services", "--registry", "zookeeper"]), "").await;
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    assert!(
        ended
            .errors
            .contains("\"zookeeper\" is unknown; allowed are mdns")
            && ended.errors.contains("--registry"),
        "{}",
        ended.errors
    );
    assert_eq!(ended.errors.lines().count(), 1);

    let mut command = micro(&["services"]);
    command.env("MICRO_REGISTRY", "zookeeper");
    assert_eq!(run(command, "").await.code, 1, "typed elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn options_come_before_the_environment() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop
        .run(&["services", "--registry-address", "other=127.0.0.1:1"])
        .await;
    assert_eq!(ended.output, "other\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_error() {
    let shop = Shop::start(Reflection::V1).await;
    for arguments in [
        &["services"][..],
        &["describe", "shop"],
        &["call", "shop", "Track"],
        &["--help"],
    ] {
        let mut child = shop.micro(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap())
            .await
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), errors.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
