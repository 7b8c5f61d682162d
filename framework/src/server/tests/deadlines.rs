//! The caller's deadline ends a call, whatever its handler does.

use tokio::time::{Duration, Instant, sleep};
use tonic::Code;

use super::support::{Order, TestServer};
use crate::server::Settings;

fn within(timeout: &'static str, text: &str) -> tonic::Request<Order> {
    let mut request = tonic::Request::new(Order::new(text));
    request
        .metadata_mut()
        .insert("grpc-timeout", timeout.parse().unwrap());
    request
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_dropped_at_the_deadline_of_its_call() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let started = Instant::now();
    let status = connection.call(within("3S", "never")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert!(started.elapsed() < Duration::from_secs(4));
    server.running(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_waits_is_dropped_at_the_deadline_of_its_call() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let mut stream = connection
        .stream(within("3S", "never"))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    let status = stream.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    server.running(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_which_nothing_is_taken_is_dropped_soon_after_the_deadline_of_its_call() {
    const STREAMS: usize = 50;
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let started = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..STREAMS {
        let stream = connection.stream(within("3S", "flood")).await.unwrap();
        streams.push(stream.into_inner());
    }
    server.running(STREAMS).await;
    server.running(0).await;
    let late = started.elapsed() - Duration::from_secs(3);
    assert!(late < Duration::from_millis(50), "{late:?}");
    // The callers learn that there is no more, and the connection serves on.
    for mut stream in streams {
        while let Ok(message) = stream.message().await {
            assert!(message.is_some(), "a stream that was cut has no end");
        }
    }
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn a_stream_that_never_waits_ends_at_the_deadline_of_its_call() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut stream = connection
        .stream(within("200m", "flood"))
        .await
        .unwrap()
        .into_inner();
    let status = loop {
        if let Err(status) = stream.message().await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    server.running(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_for_its_caller_is_dropped_at_the_deadline() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let mut request = tonic::Request::new(tokio_stream::pending());
    request
        .metadata_mut()
        .insert("grpc-timeout", "3S".parse().unwrap());
    let status = connection.collect(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    server.running(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_in_time_keeps_its_answer() {
    let server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let release_in_time = async {
        sleep(Duration::from_secs(2)).await;
        server.released.notify_one();
    };
    let (answer, ()) = tokio::join!(connection.call(within("3S", "wait")), release_in_time);
    let answer = answer.unwrap();
    assert_eq!(answer.into_inner().text, "waited");
}

#[tokio::test]
async fn without_time_no_handler_runs() {
    let server = TestServer::start(Settings::default()).await;
    let status = server
        .connect()
        .await
        .call(within("0m", "panic"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused_and_an_absurd_one_is_no_harm() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let status = connection
        .call(within("1000000000000000000n", "hello"))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let answer = connection.call(within("99999999H", "hello")).await.unwrap();
    assert_eq!(answer.into_inner().text, "hello");
}
