//! A process stops in time, whatever its callers do.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use tonic::Request;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{
    Network, PATIENCE, eventually,
    greeter::{GreetingsRequest, say_client::SayClient},
    reached,
};

/// `drain_delay` + `drain_timeout` + 1 s, by default.
const STOP_MAX: Duration = Duration::from_secs(2 + 20 + 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_in_time_with_streams_watches_and_a_client_that_never_reads() {
    let network = Network::new();
    let mut node = network.greeter("one");
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 1).await;

    let mut say = SayClient::new(channel.clone());
    let request = GreetingsRequest {
        name: "Ada".to_owned(),
        count: 1000,
        interval_ms: 60_000,
    };
    let mut greetings = say.greetings(Request::new(request)).await.unwrap().into_inner();
    greetings.message().await.unwrap();
    let watch = HealthCheckRequest {
        service: String::new(),
    };
    let mut health = HealthClient::new(channel.clone())
        .watch(watch)
        .await
        .unwrap()
        .into_inner();
    health.message().await.unwrap();
    let address = client.snapshot("greeter").await.unwrap().nodes()[0]
        .address()
        .to_string();
    let mut silent = TcpStream::connect(&address).unwrap();
    silent
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();

    node.signal(Signal::SIGTERM);
    let (status, took) = tokio::task::spawn_blocking(move || node.wait_for_end())
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(took <= STOP_MAX, "{took:?}");
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    // The connection was cut: nothing waits for it.
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_at_once() {
    let network = Network::new();
    let mut node = network.greeter("one");
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 1).await;
    let request = GreetingsRequest {
        name: "Ada".to_owned(),
        count: 1000,
        interval_ms: 60_000,
    };
    let mut greetings = SayClient::new(channel.clone())
        .greetings(Request::new(request))
        .await
        .unwrap()
        .into_inner();
    greetings.message().await.unwrap();

    node.signal(Signal::SIGTERM);
    eventually("the node leaves the registry", async || {
        client.snapshot("greeter").await.unwrap().is_empty()
    })
    .await;
    let second = Instant::now();
    node.signal(Signal::SIGINT);
    tokio::task::spawn_blocking(move || node.wait_for_end())
        .await
        .unwrap();
    // Without the second signal the stream would hold it up for 20 s.
    assert!(
        second.elapsed() < Duration::from_secs(10),
        "{:?}",
        second.elapsed()
    );
}
