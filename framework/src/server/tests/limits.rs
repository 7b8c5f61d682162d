//! Limits of connections, streams, headers and age, and an accept loop that no error ends.

use std::{io, net::SocketAddr};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    time::{Duration, Instant, sleep, timeout},
};
use tonic::Code;

use super::support::{Connection, Echo, LONG, Order, TestServer, builder};
use crate::server::{Listener, ServerBuilder, Settings, bind};

#[tokio::test]
async fn a_connection_above_the_limit_is_closed_at_once_and_taken_later() {
    let settings = Settings {
        connections_max: 1,
        ..Settings::default()
    };
    let server = TestServer::start(settings).await;
    let first = server.connect().await;
    assert_eq!(first.say("hello").await.unwrap(), "hello");

    let mut second = server.tcp().await;
    let mut answer = Vec::new();
    // Closed or reset; either way there is no answer.
    let _ = timeout(LONG, second.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty());
    assert_eq!(first.say("hello").await.unwrap(), "hello");

    drop(first);
    let deadline = Instant::now() + LONG;
    loop {
        let io = TcpStream::connect(server.server.local_address()).await.unwrap();
        if let Ok(connection) = Connection::try_over(io).await
            && connection.say("hello").await.is_ok()
        {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "no connection was taken after the first ended"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_client_is_told_how_many_streams_it_may_open() {
    let settings = Settings {
        streams_max: 3,
        ..Settings::default()
    };
    let server = TestServer::start(settings).await;
    let (mut requests, connection) = h2::client::handshake(server.tcp().await).await.unwrap();
    let connection = tokio::spawn(connection);
    // The first answer comes after the server's settings.
    let request = http::Request::get("http://x/health").body(()).unwrap();
    requests = requests.ready().await.unwrap();
    let (answer, _) = requests.send_request(request, true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert_eq!(requests.current_max_send_streams(), 3);
    connection.abort();
}

#[tokio::test]
async fn headers_that_are_too_large_fail_their_call_alone() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut request = tonic::Request::new(Order::new("hello"));
    for n in 0..20 {
        let key = format!("x-large-{n}").parse::<tonic::metadata::AsciiMetadataKey>();
        let value = "x".repeat(1000).parse().unwrap();
        request.metadata_mut().insert(key.unwrap(), value);
    }
    connection.call(request).await.unwrap_err();
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_asked_to_go_and_its_calls_finish() {
    let settings = Settings {
        connection_age_max: Some(Duration::from_secs(60)),
        ..Settings::default()
    };
    let server = TestServer::start_in_memory(settings);
    let connection = server.connect().await;
    tokio::time::sleep(Duration::from_secs(53)).await;
    let request = tonic::Request::new(Order::new("never"));
    let mut stream = connection.stream(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    tokio::time::sleep(Duration::from_secs(14)).await;

    let status = connection.say("hello").await.unwrap_err();
    assert_ne!(status.code(), Code::DeadlineExceeded);
    assert!(futures_util::poll!(std::pin::pin!(stream.message())).is_pending());
    drop(stream);
    connection.ended().await;
}

#[tokio::test]
async fn one_address_has_its_part_of_the_connections_and_others_have_theirs() {
    let settings = Settings {
        connections_per_ip_max: 1,
        ..Settings::default()
    };
    let server = TestServer::start(settings).await;
    let first = server.connect().await;
    assert_eq!(first.say("hello").await.unwrap(), "hello");
    let mut second = server.tcp().await;
    // Closed or reset; either way there is no answer.
    let _ = timeout(LONG, second.read_to_end(&mut Vec::new())).await.unwrap();

    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = other.connect(server.server.local_address()).await.unwrap();
    assert_eq!(Connection::over(other).await.say("hello").await.unwrap(), "hello");
}

/// A listener whose system is in trouble for a while.
struct Troubled {
    listener: TcpListener,
    errors: Vec<io::Error>,
}

#[async_trait::async_trait]
impl Listener for Troubled {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        match self.errors.pop() {
            Some(error) => Err(error),
            None => Listener::accept(&mut self.listener).await,
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_address()
    }
}

#[tokio::test]
async fn no_error_of_accepting_ends_it() {
    let too_many_files = 24;
    let errors = vec![
        io::Error::from_raw_os_error(too_many_files),
        io::ErrorKind::ConnectionAborted.into(),
        io::Error::other("unheard of"),
        io::ErrorKind::InvalidInput.into(),
        io::Error::from_raw_os_error(too_many_files),
    ];
    let listener = bind("127.0.0.1:0").await.unwrap();
    let mut server = builder(Settings::default(), Echo::default())
        .build()
        .unwrap()
        .start(Troubled { listener, errors })
        .unwrap();
    let io = TcpStream::connect(server.local_address()).await.unwrap();
    assert_eq!(Connection::over(io).await.say("hello").await.unwrap(), "hello");
    assert!(futures_util::poll!(std::pin::pin!(server.failed())).is_pending());
}

/// A listener with a fault.
struct Faulty;

#[async_trait::async_trait]
impl Listener for Faulty {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        panic!("a fault")
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}

#[tokio::test]
async fn a_listener_that_panics_is_a_failure_of_the_server() {
    let builder = builder(Settings::default(), Echo::default());
    let mut server = builder.build().unwrap().start(Faulty).unwrap();
    let error = timeout(LONG, server.failed()).await.unwrap();
    assert_eq!(error.kind(), crate::ErrorKind::Server);
    server.drain(LONG).await;
}

/// How much HTTP/2 sends before it is told that more is welcome.
const WINDOW: usize = 65_535;
/// How long the answer to plain HTTP is.
const LENGTH: usize = 1024 * 1024;

/// Answers plain HTTP, too.
fn with_large(builder: ServerBuilder) -> ServerBuilder {
    builder.web(tower::service_fn(async |_: http::Request<tonic::body::Body>| {
        let body = http_body_util::Full::from(vec![7; LENGTH]);
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    }))
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_taken_byte_by_byte_is_reset() {
    let (server, patience) = (
        TestServer::start_in_memory_with(Settings::default(), with_large),
        Settings::default().write_timeout,
    );
    let (requests, connection) = h2::client::handshake(server.dial()).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut requests = requests.ready().await.unwrap();
    let request = http::Request::get("http://x/large").body(()).unwrap();
    let (response, _) = requests.send_request(request, true).unwrap();
    let mut taken = response.await.unwrap().into_body();
    let (begun, mut length) = (Instant::now(), 0);
    let reset = loop {
        match taken.data().await {
            Some(Ok(data)) => length += data.len(),
            Some(Err(error)) => break error,
            None => panic!("it came whole, byte by byte"),
        }
        assert!(begun.elapsed() < 3 * patience, "{length} bytes were taken");
        if length >= WINDOW {
            // A little before it would be nothing at all.
            sleep(patience - Duration::from_secs(1)).await;
            taken.flow_control().release_capacity(1).unwrap();
        }
    };
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL), "{reset}");
    connection.abort();
}

#[tokio::test]
async fn an_answer_that_is_not_taken_is_reset_and_one_that_is_comes_whole() {
    let settings = Settings {
        write_timeout: Duration::from_secs(1),
        ..Settings::default()
    };
    let server = TestServer::start_with(settings, with_large).await;
    let (mut requests, connection) = h2::client::handshake(server.tcp().await).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut answer = async || {
        requests = requests.clone().ready().await.unwrap();
        let request = http::Request::get("http://x/large").body(()).unwrap();
        let (response, _) = requests.send_request(request, true).unwrap();
        response.await.unwrap().into_body()
    };
    let mut left = answer().await;
    let reset = loop {
        // What was sent before its window was full, and then the end of patience.
        match timeout(LONG, left.data()).await.unwrap() {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("it came whole, although nothing was taken"),
        }
    };
    assert_eq!(reset.reason(), Some(h2::Reason::CANCEL), "{reset}");
    // With what it had of the connection's window.
    drop(left);
    let (mut taken, mut length) = (answer().await, 0);
    while let Some(data) = timeout(LONG, taken.data()).await.unwrap() {
        let data = data.unwrap();
        length += data.len();
        taken.flow_control().release_capacity(data.len()).unwrap();
    }
    assert_eq!(length, LENGTH);
    connection.abort();
}

#[tokio::test]
async fn a_line_feed_alone_is_refused_in_every_request_of_a_connection() {
    let server = TestServer::start(Settings::default()).await;
    let good = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    for (before, status) in [("", 1), (good, 2)] {
        let bad = format!("{before}GET /health HTTP/1.1\r\nhost: x\nx-a: b\r\n\r\n{good}");
        let mut io = server.tcp().await;
        tokio::io::AsyncWriteExt::write_all(&mut io, bad.as_bytes())
            .await
            .unwrap();
        let mut answer = String::new();
        timeout(LONG, io.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.matches("HTTP/1.1 ").count(), status, "{answer}");
        assert!(answer.contains("HTTP/1.1 400 "), "{answer}");
    }
}
