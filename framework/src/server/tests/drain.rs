//! A stop: what may finish finishes, and what does not is cut in time.

use std::sync::{Arc, Mutex, mpsc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, Instant, timeout},
};
use tonic::{Code, Streaming};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient};

use super::support::{Connection, LONG, Order, TestServer};
use crate::server::Settings;

const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// What a drain may take beyond its timeout.
const MARGIN: Duration = Duration::from_secs(1);

async fn open_stream(connection: &Connection, text: &str) -> Streaming<Order> {
    let request = tonic::Request::new(Order::new(text));
    let mut stream = connection.stream(request).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
    stream
}

async fn open_watch(connection: &Connection) -> Streaming<HealthCheckResponse> {
    let mut client = HealthClient::new(connection.clone());
    let mut watch = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    watch.message().await.unwrap().unwrap();
    watch
}

fn say_in_the_background(
    connection: &Connection,
    text: &'static str,
) -> tokio::task::JoinHandle<Result<String, tonic::Status>> {
    let connection = connection.clone();
    tokio::spawn(async move { connection.say(text).await })
}

#[tokio::test(start_paused = true)]
async fn a_server_at_rest_stops_at_once() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let idle = server.connect().await;
    assert_eq!(idle.say("hello").await.unwrap(), "hello");
    let _silent = server.dial();
    let started = Instant::now();
    server.server.drain(DRAIN_TIMEOUT).await;
    assert!(started.elapsed() < MARGIN, "{:?}", started.elapsed());
    idle.ended().await;
}

#[tokio::test(start_paused = true)]
async fn calls_in_flight_finish() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let call = say_in_the_background(&connection, "wait");
    server.running(1).await;
    let started = Instant::now();
    let released = Arc::clone(&server.released);
    let release_later = async {
        tokio::time::sleep(DRAIN_TIMEOUT / 2).await;
        released.notify_one();
    };
    tokio::join!(server.server.drain(DRAIN_TIMEOUT), release_later);
    assert!(started.elapsed() < DRAIN_TIMEOUT, "{:?}", started.elapsed());
    assert_eq!(call.await.unwrap().unwrap(), "waited");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_finish_is_cut_in_time() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    let call = say_in_the_background(&connection, "never");
    let mut stream = open_stream(&connection, "never").await;
    let never_reads = open_stream(&server.connect().await, "flood").await;
    let _watch = open_watch(&connection).await;
    server.running(3).await;

    let started = Instant::now();
    server.server.drain(DRAIN_TIMEOUT).await;

    assert!(started.elapsed() >= DRAIN_TIMEOUT, "{:?}", started.elapsed());
    assert!(
        started.elapsed() < DRAIN_TIMEOUT + MARGIN,
        "{:?}",
        started.elapsed()
    );
    server.running(0).await;
    call.await.unwrap().unwrap_err();
    stream.message().await.unwrap_err();
    drop(never_reads);
}

#[tokio::test]
async fn what_does_not_finish_is_cut_over_real_sockets_too() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let call = say_in_the_background(&connection, "never");
    let _stream = open_stream(&connection, "never").await;
    let _never_reads = open_stream(&server.connect().await, "flood").await;
    let _watch = open_watch(&connection).await;
    server.running(3).await;
    let drain = server.server.drain(Duration::from_millis(200));
    timeout(LONG, drain).await.expect("the drain should end");
    server.running(0).await;
    call.await.unwrap().unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn an_open_health_watch_is_ended_and_holds_nothing_up() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let mut watch = open_watch(&server.connect().await).await;
    let started = Instant::now();
    let (status, ()) = tokio::join!(watch.message(), server.server.drain(DRAIN_TIMEOUT));
    assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    assert!(started.elapsed() < MARGIN, "{:?}", started.elapsed());
}

#[tokio::test]
async fn nothing_is_accepted_any_more() {
    let mut server = TestServer::start(Settings::default()).await;
    let address = server.server.local_address();
    server.server.drain(LONG).await;
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_call_on_a_connection_that_the_server_has_not_read_yet_is_answered() {
    let mut server = TestServer::start_in_memory(Settings::default());
    let (near, far) = tokio::io::duplex(64 * 1024);
    let call = say_in_the_background(&Connection::over(near).await, "hello");
    // The request is sent, and the server is stopped before it looks at the connection.
    tokio::time::sleep(Duration::from_millis(1)).await;
    server.hand_over(far);
    server.server.drain(DRAIN_TIMEOUT).await;
    assert_eq!(call.await.unwrap().unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_to_go_before_it_is_cut() {
    const GOAWAY: u8 = 7;
    let mut server = TestServer::start_in_memory(Settings::default());
    let mut peer = server.dial();
    let opening = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    peer.write_all(&opening).await.unwrap();
    let mut header = [0; 9];
    // The server's settings: the connection stands.
    peer.read_exact(&mut header).await.unwrap();
    let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
    peer.read_exact(&mut vec![0; length]).await.unwrap();

    let read = async {
        let mut kinds = Vec::new();
        while peer.read_exact(&mut header).await.is_ok() {
            kinds.push(header[3]);
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            peer.read_exact(&mut vec![0; length]).await.unwrap();
        }
        kinds
    };
    let (kinds, ()) = tokio::join!(read, server.server.drain(DRAIN_TIMEOUT));
    assert!(kinds.contains(&GOAWAY), "{kinds:?}");
}

#[tokio::test]
async fn dropping_a_server_cuts_everything() {
    let mut server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let call = say_in_the_background(&connection, "never");
    server.running(1).await;
    let address = server.server.local_address();
    let TestServer {
        server, mut running, ..
    } = server;
    drop(server);
    timeout(LONG, running.wait_for(|running| *running == 0))
        .await
        .expect("the handler should be dropped")
        .unwrap();
    call.await.unwrap().unwrap_err();
    connection.ended().await;
    TcpStream::connect(address).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_blocks_its_thread_does_not_hold_up_the_stop() {
    let (release, released) = mpsc::channel::<()>();
    let (blocks, blocking) = tokio::sync::oneshot::channel();
    let held = Arc::new(Mutex::new(Some((blocks, released))));
    let layer = tower::layer::layer_fn(move |inner: crate::server::BoxService| {
        let held = Arc::clone(&held);
        tower::ServiceBuilder::new()
            .map_request(move |request: http::Request<tonic::body::Body>| {
                if let Some((blocks, released)) = held.lock().unwrap().take() {
                    let _ = blocks.send(());
                    let _ = released.recv_timeout(LONG);
                }
                request
            })
            .service(inner)
    });
    let mut server = TestServer::start_with(Settings::default(), |builder| builder.layer(layer)).await;
    let connection = server.connect().await;
    let call = say_in_the_background(&connection, "hello");
    blocking.await.unwrap();
    let drain = server.server.drain(Duration::from_millis(100));
    timeout(LONG / 2, drain).await.expect("the drain should end");
    release.send(()).unwrap();
    call.await.unwrap().unwrap_err();
}
