//! `micro gateway`.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use micro_dynamic::fake::Reflection;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    running::Running,
    support::{Shop, micro, run},
};

/// What is answered to one request, written by hand as `curl -d` would.
pub(crate) fn answer(address: &str, path: &str, json: &str) -> String {
    try_answer(address, path, json).unwrap()
}

pub(crate) fn try_answer(address: &str, path: &str, json: &str) -> io::Result<String> {
    let mut socket = TcpStream::connect(address)?;
    let length = json.len();
    write!(
        socket,
        "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{json}"
    )?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_for_what_is_exported_until_ctrl_c() {
    let shop = Shop::start(Reflection::V1).await;
    let command = shop.micro(&["gateway", "shop/Shop", "--address", "127.0.0.1:0"]);
    let served = tokio::task::spawn_blocking(move || {
        let mut gateway = Running::start(command);
        let line = gateway.errors_until("answers for shop/Shop").pop().unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let order = answer(&address, "/shop/shop/order", r#"{"name":"Ada"}"#);
        assert!(order.starts_with("HTTP/1.1 200 OK\r\n"), "{order}");
        assert!(order.ends_with(r#"{"message":"Hello Ada","count":1}"#), "{order}");
        let find = answer(&address, "/shop/archive/find", "{}");
        assert!(find.starts_with("HTTP/1.1 404 "), "{find}");
        let ready = answer(&address, "/health", "");
        assert!(ready.starts_with("HTTP/1.1 405 "), "the page is for GET: {ready}");
        gateway.signal(Signal::SIGINT);
        gateway.exit_code()
    });
    assert_eq!(served.await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn as_json_it_says_where_it_listens() {
    let shop = Shop::start(Reflection::V1).await;
    let command = shop.micro(&[
        "gateway",
        "shop",
        "--address",
        "127.0.0.1:0",
        "--dashboard",
        "--json",
    ]);
    let said = tokio::task::spawn_blocking(move || Running::start(command).output_until("url"));
    let said: Value = serde_json::from_str(said.await.unwrap().last().unwrap()).unwrap();
    let port = said["url"]
        .as_str()
        .unwrap()
        .strip_prefix("http://127.0.0.1:")
        .unwrap();
    assert_eq!(said["dashboard"], format!("http://localhost:{port}/dashboard"));
    assert_eq!(said["exports"], json!(["shop"]));
    let ended = shop.run(&["gateway", "--json"]).await;
    let error: Value = serde_json::from_str(&ended.errors).unwrap();
    assert!(error["error"]["message"].is_string(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_log_has_no_codes_for_a_terminal_where_there_is_none() {
    let shop = Shop::start(Reflection::V1).await;
    let mut command = shop.micro(&["gateway", "shop", "--address", "127.0.0.1:0"]);
    command.env("RUST_LOG", "info").env_remove("NO_COLOR");
    let said = tokio::task::spawn_blocking(move || Running::start(command).errors_until("answers for shop"));
    let said = said.await.unwrap();
    assert!(said.iter().any(|line| line.contains(" INFO ")), "{said:?}");
    assert!(!said.iter().any(|line| line.contains('\x1b')), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_name_of_another_it_shows_nothing() {
    let shop = Shop::start(Reflection::V1).await;
    let command = shop.micro(&["gateway", "shop", "--address", "127.0.0.1:0", "--dashboard"]);
    let (gateway, said) = tokio::task::block_in_place(|| {
        let gateway = Running::start(command);
        let said = gateway.errors_until("answers for shop");
        (gateway, said)
    });
    let (_, rest) = said.last().unwrap().split_once("http://").unwrap();
    let (address, _) = rest.split_once(' ').unwrap();
    let get = |path: &str, host: &str| {
        let mut socket = TcpStream::connect(address).unwrap();
        write!(
            socket,
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    };
    let (_, port) = address.split_once(':').unwrap();
    for path in ["/dashboard", "/shop/shop/look"] {
        let answer = get(path, "evil.example");
        assert!(answer.starts_with("HTTP/1.1 421 "), "{path}: {answer}");
    }
    let answer = get("/dashboard", &format!("localhost:{port}"));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(gateway);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_to_export_it_says_what_to_type() {
    let shop = Shop::start(Reflection::V1).await;
    let ended = shop.run(&["gateway"]).await;
    assert_eq!(ended.code, 2);
    assert!(
        ended.errors.contains("such as `micro gateway greeter`"),
        "{}",
        ended.errors
    );
    let ended = shop.run(&["gateway", "shop/../admin"]).await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("allowed are a service"), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_its_table_names_file_line_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("micro.toml"),
        "[gateway]\ntimeout = \"soon\"\n",
    )
    .unwrap();
    let mut command = micro(&["gateway", "shop"]);
    command.current_dir(folder.path());
    let ended = run(command, "").await;
    assert_eq!(ended.code, 1);
    assert!(
        ended.errors.contains("`micro.toml`: line 2: ") && ended.errors.contains("`500ms`"),
        "{}",
        ended.errors
    );
}
