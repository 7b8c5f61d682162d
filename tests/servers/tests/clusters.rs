//! What tests rely on: clusters that elect, survive, remember and forget, and nothing that stays behind.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use micro_test_servers::{Consul, Etcd};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn three_servers_of_consul_with_an_agent_and_rights_survive_their_leader() {
    let consul = Consul::builder()
        .servers(3)
        .client_agent()
        .rights()
        .start()
        .await
        .unwrap();
    assert_eq!(consul.nodes().len(), 4);
    let written = consul.request(Method::PUT, "kv/a", "b").await.unwrap();
    assert_eq!(written.0, StatusCode::OK);
    let leader = consul.leader().await.unwrap();
    consul.nodes()[leader].kill();
    assert!(!consul.nodes()[leader].is_running());
    consul.until_ready().await.unwrap();
    assert_ne!(consul.leader().await.unwrap(), leader);
    let read = consul.request_at(3, Method::GET, "kv/a?raw", "").await.unwrap();
    assert_eq!(read, (StatusCode::OK, "b".to_owned()));
    let stranger = consul.nodes()[3]
        .request(Method::GET, "/v1/kv/a", &[], "")
        .await
        .unwrap();
    assert_eq!(stranger.0, StatusCode::FORBIDDEN);
    consul.nodes()[leader].start_wiped().await.unwrap();
    consul.until_ready().await.unwrap();
    consul.start_wiped().await.unwrap();
    let read = consul.request_at(3, Method::GET, "kv/a?raw", "").await.unwrap();
    assert_eq!(read.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_agent_of_consul_remembers_only_if_it_keeps_its_data() {
    let forgetful = Consul::builder().start().await.unwrap();
    let mindful = Consul::builder().keeps_data().start().await.unwrap();
    for (consul, expected) in [(forgetful, StatusCode::NOT_FOUND), (mindful, StatusCode::OK)] {
        consul.request(Method::PUT, "kv/a", "b").await.unwrap();
        consul.kill();
        assert!(consul.request(Method::GET, "kv/a", "").await.is_err());
        consul.start_again().await.unwrap();
        let (status, _) = consul.request(Method::GET, "kv/a", "").await.unwrap();
        assert_eq!(status, expected);
    }
}

#[tokio::test]
async fn a_stranger_that_answers_on_a_node_s_port_is_not_taken_for_it() {
    let etcd = Etcd::builder().start().await.unwrap();
    etcd.kill();
    let stranger = TcpListener::bind(etcd.nodes()[0].address()).await.unwrap();
    let answering = tokio::spawn(async move {
        while let Ok((mut caller, _)) = stranger.accept().await {
            let _ = caller.read(&mut [0; 1024]).await;
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            // Who has gone away needs no answer.
            let _ = caller.write_all(answer).await;
        }
    });
    let refused = etcd.nodes()[0].start_again().await.unwrap_err();
    assert!(
        refused.to_string().contains("address already in use"),
        "{refused}"
    );
    answering.abort();
}

#[tokio::test]
async fn three_members_of_etcd_with_users_survive_their_leader_and_a_pause() {
    let etcd = Etcd::builder().members(3).users().start().await.unwrap();
    etcd.add_user("micro", "secret", "/micro/").await.unwrap();
    etcd.put("/micro/a", b"b").await.unwrap();
    let leader = etcd.leader().await.unwrap();
    etcd.nodes()[leader].kill();
    etcd.until_ready().await.unwrap();
    let successor = etcd.leader().await.unwrap();
    assert_ne!(successor, leader);
    etcd.nodes()[leader].start_again().await.unwrap();
    etcd.nodes()[successor].pause();
    etcd.until_ready().await.unwrap();
    assert_ne!(etcd.leader().await.unwrap(), successor);
    assert!(etcd.nodes()[successor].is_running());
    etcd.nodes()[successor].resume();
    etcd.until_ready().await.unwrap();
    assert_eq!(
        etcd.list("/micro/").await.unwrap(),
        [("/micro/a".to_owned(), b"b".to_vec())]
    );
    let range = json!({"key": "L21pY3JvL2E="}).to_string();
    let stranger = etcd.nodes()[0]
        .request(Method::POST, "/v3/kv/range", &[], &range)
        .await
        .unwrap();
    assert_ne!(stranger.0, StatusCode::OK);
    etcd.start_wiped().await.unwrap();
    assert_eq!(etcd.list("/micro/").await.unwrap(), []);
}

#[tokio::test]
async fn one_member_of_etcd_remembers_until_it_is_wiped() {
    let etcd = Etcd::builder().tls().start().await.unwrap();
    etcd.put("a", b"b").await.unwrap();
    assert!(etcd.compact().await.unwrap() > 1);
    etcd.kill();
    etcd.start_again().await.unwrap();
    assert_eq!(etcd.list("a").await.unwrap().len(), 1);
    etcd.delete("a").await.unwrap();
    assert_eq!(etcd.list("a").await.unwrap(), []);
    etcd.put("a", b"b").await.unwrap();
    etcd.nodes()[0].start_wiped().await.unwrap();
    etcd.until_ready().await.unwrap();
    assert_eq!(etcd.list("").await.unwrap(), []);
}

#[tokio::test]
async fn what_cannot_start_says_why_and_is_not_tried_for_ever() {
    let error = Consul::builder()
        .configuration("no_such_key = 1")
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no_such_key"), "{error}");
    let error = Etcd::builder()
        .argument("--no-such-argument")
        .start()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no-such-argument"), "{error}");
}

#[tokio::test]
async fn nobody_is_left_on_the_ports_of_what_was_dropped() {
    let etcd = Etcd::builder().start().await.unwrap();
    let address = etcd.address();
    etcd.nodes()[0].pause();
    drop(etcd);
    assert!(std::net::TcpStream::connect(address).is_err());
}
