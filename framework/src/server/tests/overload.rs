//! More calls than the server takes, and what is served all the same.

use prost::Message;
use prost_types::Any;
use tokio::time::{Duration, Instant};
use tonic::{Code, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::support::{Connection, LONG, Order, TestServer};
use crate::server::Settings;

const CALLS_MAX: usize = 2;

/// A server of [`CALLS_MAX`] calls, all of them taken: by a call that waits and by a stream that does not end.
async fn full() -> (TestServer, Connection, impl Drop) {
    struct Held {
        call: tokio::task::JoinHandle<Result<String, Status>>,
        _stream: tonic::Streaming<Order>,
    }
    impl Drop for Held {
        fn drop(&mut self) {
            self.call.abort();
        }
    }
    let settings = Settings {
        calls_max: CALLS_MAX,
        ..Settings::default()
    };
    let mut server = TestServer::start(settings).await;
    server.server.health().set_serving(true);
    let connection = server.connect().await;
    let waiting = connection.clone();
    let call = tokio::spawn(async move { waiting.say("wait").await });
    let order = tonic::Request::new(Order::new("never"));
    let stream = connection.stream(order).await.unwrap().into_inner();
    server.running(CALLS_MAX).await;
    let held = Held {
        call,
        _stream: stream,
    };
    (server, connection, held)
}

#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[tokio::test]
async fn a_call_too_many_is_refused_at_once_with_the_time_to_wait() {
    let (mut server, connection, held) = full().await;
    for _ in 0..20 {
        let status = connection.say("hello").await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("2 calls"), "{status}");
        let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
        let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
        assert!((50..=150).contains(&pushback), "{pushback}");
        let details = Details::decode(status.details()).unwrap().details;
        let [info] = details.as_slice() else {
            panic!("{details:?}")
        };
        assert_eq!(info.type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let info = RetryInfo::decode(info.value.as_slice()).unwrap();
        let delay = Duration::try_from(info.retry_delay.unwrap()).unwrap();
        assert_eq!(u64::try_from(delay.as_millis()).unwrap(), pushback);
    }
    drop(held);
    server.running(0).await;
    // Counted down just after the handler has gone.
    let deadline = Instant::now() + LONG;
    while connection.say("hello").await.is_err() {
        assert!(Instant::now() < deadline);
    }
}

#[tokio::test]
async fn health_and_probes_are_answered_however_many_calls_there_are() {
    let (server, connection, _held) = full().await;
    let mut client = HealthClient::new(connection.clone());
    let request = || HealthCheckRequest {
        service: String::new(),
    };
    let mut watches = Vec::new();
    for _ in 0..2 * CALLS_MAX {
        let status = client.check(request()).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
        let mut watch = client.watch(request()).await.unwrap().into_inner();
        assert_eq!(
            watch.message().await.unwrap().unwrap().status(),
            ServingStatus::Serving
        );
        watches.push(watch);
    }
    let metrics = super::metrics::metrics(&server).await;
    // The watches take no call's place.
    assert!(metrics.contains("\nmicro_server_active_calls 2\n"), "{metrics}");
    assert!(metrics.contains("\nmicro_server_calls_limit 2\n"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn all_places_are_used_however_many_calls_are_refused() {
    const CALLERS: usize = 100;
    let settings = Settings {
        calls_max: CALLS_MAX,
        streams_max: 1000,
        ..Settings::default()
    };
    let mut server = TestServer::start_in_memory(settings);
    let connection = server.connect().await;
    for _ in 0..20 {
        let calls: Vec<_> = (0..CALLERS)
            .map(|_| {
                let connection = connection.clone();
                tokio::spawn(async move { connection.say("wait").await })
            })
            .collect();
        server.running(CALLS_MAX).await;
        // Those that were refused are back before time passes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.released.notify_waiters();
        let mut answered = 0;
        for call in calls {
            answered += usize::from(call.await.unwrap().is_ok());
        }
        assert_eq!(answered, CALLS_MAX);
        server.running(0).await;
    }
}

#[tokio::test]
async fn what_is_refused_is_counted() {
    let (server, connection, _held) = full().await;
    for _ in 0..3 {
        connection.say("hello").await.unwrap_err();
    }
    let metrics = super::metrics::metrics(&server).await;
    assert!(
        metrics.contains("\nmicro_server_refused_calls_total 3\n"),
        "{metrics}"
    );
}

/// How many calls the server says that it takes.
async fn limit(server: &TestServer) -> usize {
    let metrics = super::metrics::metrics_over(server.dial()).await;
    let mut lines = metrics.lines();
    let limit = lines.find_map(|line| line.strip_prefix("micro_server_calls_limit "));
    limit.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

/// Makes as many calls as the server takes, and one more, which is refused; the others take this long.
async fn fill(server: &mut TestServer, connection: &Connection, calls: usize, time: Duration) {
    let waiting: Vec<_> = (0..calls)
        .map(|_| {
            let connection = connection.clone();
            tokio::spawn(async move { connection.say("wait").await })
        })
        .collect();
    server.running(calls).await;
    let refused = connection.say("hello").await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let expected = format!("{calls} calls are in flight");
    assert!(refused.message().starts_with(&expected), "{refused}");
    tokio::time::sleep(time).await;
    server.released.notify_waiters();
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap(), "waited");
    }
    server.running(0).await;
    // Counted down just after the handler has gone.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_follows_the_load_begins_at_three_and_grows_and_falls_with_it() {
    let settings = Settings {
        calls_adaptive: true,
        ..Settings::default()
    };
    let mut server = TestServer::start_in_memory(settings);
    let connection = server.connect().await;
    assert_eq!(limit(&server).await, 3);
    let work = Duration::from_millis(10);
    for _ in 0..30 {
        let now = limit(&server).await;
        fill(&mut server, &connection, now, work).await;
    }
    let grown = limit(&server).await;
    assert!(grown > 3, "{grown}");
    for _ in 0..30 {
        let now = limit(&server).await;
        fill(&mut server, &connection, now, 10 * work).await;
    }
    let fallen = limit(&server).await;
    assert!(fallen < grown, "{fallen} of {grown}");
}
