//! `micro call`.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::Duration,
};

use micro_dynamic::fake::Reflection;
use serde_json::Value;

use crate::support::{Ended, Shop, run};

async fn shop() -> Shop {
    Shop::start(Reflection::V1).await
}

fn success(output: &str) -> Ended {
    Ended {
        code: 0,
        output: output.to_owned(),
        errors: String::new(),
    }
}

fn failure(code: i32, errors: &str) -> Ended {
    Ended {
        code,
        output: String::new(),
        errors: errors.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unary_call_prints_its_answer_and_nothing_else() {
    let shop = shop().await;
    for method in ["Shop.Order", "shop.Shop/Order"] {
        let ended = shop.run(&["call", "shop", method, r#"{"name":"Ada"}"#]).await;
        assert_eq!(ended, success("{\"message\":\"Hello Ada\",\"count\":1}\n"));
    }
    let ended = shop.run(&["call", "shop", "Shop.Order"]).await;
    assert_eq!(ended, success("{\"message\":\"Hello \",\"count\":1}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_read_and_may_span_lines() {
    let ended = shop()
        .await
        .run_with_input(
            &["call", "shop", "Shop.Order", "-"],
            "{\n  \"name\": \"Ada\"\n}\n",
        )
        .await;
    assert_eq!(ended, success("{\"message\":\"Hello Ada\",\"count\":1}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_go_in_and_out_as_one_json_a_line() {
    let shop = shop().await;
    let two = "{\"name\":\"Ada\"}\n\n{\"name\":\"Bo\"}";

    let ended = shop.run(&["call", "shop", "Track", r#"{"name":"Ada"}"#]).await;
    let lines: String = (1..=3)
        .map(|count| format!("{{\"message\":\"Hello Ada\",\"count\":{count}}}\n"))
        .collect();
    assert_eq!(ended, success(&lines));

    let ended = shop.run_with_input(&["call", "shop", "Total", "-"], two).await;
    assert_eq!(ended, success("{\"message\":\"Hello Ada Bo\",\"count\":2}\n"));

    let both = "{\"message\":\"Hello Ada\",\"count\":1}\n{\"message\":\"Hello Bo\",\"count\":1}\n";
    assert_eq!(
        shop.run_with_input(&["call", "shop", "Chat", "-"], two).await,
        success(both)
    );
    assert_eq!(shop.run(&["call", "shop", "Chat", two]).await, success(both));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_answers_while_standard_input_is_open() {
    let shop = shop().await;
    let mut child = shop
        .micro(&["call", "shop", "Chat", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let talk = tokio::task::spawn_blocking(move || {
        let mut input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        for name in ["Ada", "Bo"] {
            writeln!(input, "{{\"name\":\"{name}\"}}").unwrap();
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            assert!(line.contains(name), "{line}");
        }
        // The error ends the call although more could be typed.
        writeln!(input, "{{\"name\":\"nobody\"}}").unwrap();
        child.wait().unwrap().code()
    });
    assert_eq!(talk.await.unwrap(), Some(69));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_line_ends_the_call_and_says_which_it_was() {
    let ended = shop()
        .await
        .run_with_input(
            &["call", "shop", "Total", "-"],
            "{\"name\":\"Ada\"}\n{\"nam\":1}\n",
        )
        .await;
    assert_eq!((ended.code, ended.output.as_str()), (2, ""));
    assert!(
        ended
            .errors
            .starts_with("error: line 2: no field `nam`; the fields of"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_shows_its_code_its_message_and_its_node_and_sets_the_exit_code() {
    let shop = shop().await;
    let ended = shop
        .run(&["call", "shop", "Shop.Order", r#"{"name":"nobody"}"#])
        .await;
    assert_eq!((ended.code, ended.output.as_str()), (69, ""));
    assert!(
        ended
            .errors
            .starts_with("error: NOT_FOUND: there is nobody (node 127.0.0.1:"),
        "{}",
        ended.errors
    );

    let ended = shop
        .run(&["call", "shop", "Shop.Order", r#"{"name":"nobody"}"#, "--json"])
        .await;
    let error: serde_json::Value = serde_json::from_str(&ended.errors).unwrap();
    assert_eq!(error["error"]["code"], "NOT_FOUND");
    assert_eq!(error["error"]["message"], "there is nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_typed_wrong_says_what_would_be_right() {
    let shop = shop().await;
    assert_eq!(
        shop.run(&["call", "shop", "Oder"]).await,
        failure(
            2,
            "error: `shop` has no method `Oder`; there are: shop.Archive/Order, shop.Archive/Find, shop.Shop/Order, \
             shop.Shop/Look, shop.Shop/Track, shop.Shop/Total, shop.Shop/Chat\n"
        )
    );
    assert_eq!(
        shop.run(&["call", "shop", "Shop.Order", r#"{"price":{"unit":1}}"#])
            .await,
        failure(
            2,
            "error: no field `price.unit`; the fields of `money.Money` are: currency, units\n"
        )
    );
    let ended = shop.run(&["call", "shop", "Shop.Order", "{name}"]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("not the JSON of a `shop.OrderRequest`"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_input_is_no_message_and_says_what_would_be() {
    let ended = shop()
        .await
        .run_with_input(&["call", "shop", "Shop.Order", "-"], "\n")
        .await;
    let expected = "error: nothing was given to send; the shortest JSON of a `shop.OrderRequest` is {}\n";
    assert_eq!(ended, failure(2, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_says_where_it_looked_and_what_there_is() {
    let shop = shop().await;
    let ended = shop.run(&["call", "shpo", "Order"]).await;
    assert_eq!(ended.code, 78);
    assert!(
        ended
            .errors
            .starts_with("error: UNAVAILABLE: no nodes of `shpo` in static at shop=127.0.0.1:")
            && ended.errors.ends_with("; the services there are: shop\n"),
        "{}",
        ended.errors
    );
    let ended = shop.run(&["call", "../x", "Order"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("service name"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_reflection_says_how_to_get_it() {
    let shop = Shop::start(Reflection::None).await;
    let ended = shop.run(&["call", "shop", "Order"]).await;
    assert_eq!(ended.code, 76);
    assert!(ended.errors.contains(".descriptors("), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_sent() {
    let ended = shop()
        .await
        .run(&[
            "call",
            "shop",
            "Shop.Order",
            r#"{"name":"Ada"}"#,
            "-H",
            "Suffix: !",
        ])
        .await;
    assert_eq!(ended, success("{\"message\":\"Hello Ada!\",\"count\":1}\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_takes_too_long_ends_with_its_deadline() {
    let shop = shop().await;
    // Longer than the test may take, were it not for the limit.
    let arguments = [
        "call",
        "shop",
        "Shop.Order",
        r#"{"name":"sloth"}"#,
        "--timeout",
        "200ms",
    ];
    let ended = tokio::time::timeout(Duration::from_secs(60), shop.run(&arguments))
        .await
        .unwrap();
    assert_eq!(ended.code, 68, "{}", ended.errors);
    assert!(
        ended.errors.starts_with("error: DEADLINE_EXCEEDED"),
        "{}",
        ended.errors
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_is_unavailable() {
    let shop = shop().await;
    // Nobody listens on the first of all ports.
    let ended = shop
        .run(&["call", "shop", "Order", "--registry-address", "shop=127.0.0.1:1"])
        .await;
    assert_eq!(ended.code, 78, "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_json_the_log_is_json_too() {
    let shop = shop().await;
    let mut command = shop.micro(&["call", "shop", "Look", r#"{"name":"Ada"}"#, "--json"]);
    command.env("RUST_LOG", "trace");
    let ended = run(command, "").await;
    assert_eq!(ended.code, 0, "{}", ended.errors);
    assert!(!ended.errors.is_empty());
    for line in ended.errors.lines() {
        let logged: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for key in ["time", "level", "target", "message"] {
            assert!(logged[key].is_string(), "{key}: {line}");
        }
    }
}
