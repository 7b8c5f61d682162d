//! Spans and metrics on their way to a collector that the tests play, through two services.

#![cfg(feature = "otel")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod collector;
mod relay;
mod tls;

use std::{sync::Arc, time::Duration};

use micro::{
    Client, Otlp, Service,
    registry::{Memory, Registry},
};
use opentelemetry_proto::tonic::{
    metrics::v1::{HistogramDataPoint, metric::Data},
    trace::v1::{Span, span::SpanKind},
};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;
use tracing::{Dispatch, info_span, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt;

use self::{
    collector::{Collector, Taken, text},
    relay::Relay,
};

const LONG: Duration = Duration::from_secs(30);
const CALL: &str = "/test.Relay/Call";

/// A service that answers, after asking the service `next`, if there is one.
struct Hop {
    running: JoinHandle<micro::Result<()>>,
    token: CancellationToken,
}

impl Hop {
    async fn start(
        name: &str,
        registry: &Arc<dyn Registry>,
        next: Option<&'static str>,
        otlp: Option<&Otlp>,
    ) -> Self {
        let (tell, started) = oneshot::channel();
        let service = Service::builder(name)
            .registry(Arc::clone(registry))
            .drain_delay(Duration::ZERO)
            .add_service_with(move |cx| Relay::new(next.map(|next| cx.client().channel(next))))
            .descriptors(relay::descriptors())
            .after_start(|_cx| async move { tell.send(()).map_err(|()| "nobody waits") });
        let service = match otlp {
            Some(otlp) => service.otlp(otlp),
            None => service,
        };
        let service = service.build().unwrap();
        let token = service.cancellation_token();
        let running = tokio::spawn(service.run());
        started.await.unwrap();
        Self { running, token }
    }

    async fn stop(self) -> micro::Result<()> {
        self.token.cancel();
        self.running.await.unwrap()
    }
}

async fn call(client: &Client, service: &str, text: &str) -> Result<String, tonic::Status> {
    let mut grpc = Grpc::new(client.channel(service));
    grpc.ready().await?;
    let codec = ProstCodec::<String, String>::default();
    let request = Request::new(text.to_owned());
    let path = PathAndQuery::from_static(CALL);
    Ok(grpc.unary(request, path, codec).await?.into_inner())
}

/// Sends the spans of this thread, on which all of a test's runtime is.
fn subscribe(otlp: &Otlp) -> (DefaultGuard, Dispatch) {
    // With one subscriber alone, a span that a thread without one is the first to reach is seen by nobody from then on.
    let second = Dispatch::new(tracing_subscriber::registry());
    let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(otlp.layer()));
    (guard, second)
}

fn registry() -> Arc<dyn Registry> {
    Arc::new(Memory::default())
}

#[tokio::test]
async fn a_call_through_two_services_is_one_trace_and_each_span_the_parent_of_the_next() {
    let collector = Collector::start().await;
    let otlp = Otlp::to("relay", &collector.endpoint()).unwrap();
    let _subscribed = subscribe(&otlp);
    let registry = registry();
    let back = Hop::start("back", &registry, None, None).await;
    let front = Hop::start("front", &registry, Some("back"), Some(&otlp)).await;
    let client = Client::builder(Arc::clone(&registry)).build().unwrap();
    assert_eq!(call(&client, "front", "Ada").await.unwrap(), "Ada");
    drop(client);
    back.stop().await.unwrap();
    // Its stop sends what waits.
    front.stop().await.unwrap();

    let mut taken = collector.taken();
    assert_eq!(taken.service, "relay");
    // Connections serve many calls, so they stand for themselves.
    let connects = taken.take("connect");
    let waits = taken.take("pick");
    for service in ["front", "back"] {
        let of_service = |span: &&Span| Taken::text(span, "micro.service").as_deref() == Some(service);
        let connect = connects.iter().find(of_service).unwrap();
        assert!(connect.parent_span_id.is_empty(), "{connect:#?}");
        assert_eq!(
            Taken::text(connect, "server.address").as_deref(),
            Some("127.0.0.1")
        );
        assert_eq!(Taken::text(connect, "error.type"), None);
    }
    let roots = taken.children(&[]);
    let [root] = roots[..] else {
        panic!("one root in {taken:#?}");
    };
    // Outermost first: the test's call, the front, the front's call, the back. What a call is to a node has the call as its
    // parent, and so have its attempts: services are drawn by the pairs of a client's span and the server's below it.
    let (mut chain, mut attempts) = (vec![root], Vec::new());
    loop {
        let below = taken.children(&chain.last().unwrap().span_id);
        let (attempt, others): (Vec<_>, Vec<_>) = below.into_iter().partition(|span| span.name == "attempt");
        attempts.extend(attempt);
        match others[..] {
            [next] => chain.push(next),
            _ => break,
        }
    }
    let method = "test.Relay/Call";
    let shown: Vec<_> = chain
        .iter()
        .map(|span| (span.name.as_str(), span.kind()))
        .collect();
    let (client, server) = ((method, SpanKind::Client), (method, SpanKind::Server));
    assert_eq!(shown, [client, server, client, server], "{taken:#?}");
    // Each is the first call of its client, and waits for a connection.
    for below in [&attempts, &waits.iter().collect()] {
        let mut parents: Vec<_> = below.iter().map(|span| &span.parent_span_id).collect();
        parents.sort_unstable_by_key(|parent| **parent != chain[0].span_id);
        assert_eq!(parents, [&chain[0].span_id, &chain[2].span_id], "{taken:#?}");
    }
    assert!(
        attempts.iter().all(|span| span.kind() == SpanKind::Internal),
        "{taken:#?}"
    );
    assert_eq!(taken.spans.len(), 6, "there are no others: {taken:#?}");
    assert!(
        taken.spans.iter().all(|span| span.trace_id == root.trace_id),
        "{taken:#?}"
    );

    let text = |at: usize, key: &str| Taken::text(chain[at], key);
    assert_eq!(text(0, "micro.service").as_deref(), Some("front"));
    assert_eq!(text(2, "micro.service").as_deref(), Some("back"));
    for at in 0..4 {
        assert_eq!(text(at, "rpc.system.name").as_deref(), Some("grpc"), "{at}");
        assert_eq!(text(at, "rpc.method").as_deref(), Some(method), "{at}");
        assert_eq!(
            text(at, "rpc.response.status_code").as_deref(),
            Some("OK"),
            "{at}"
        );
    }
    assert_eq!(text(0, "server.address").as_deref(), Some("front"));
    assert_eq!(text(2, "server.address").as_deref(), Some("back"));
    for span in [chain[0], chain[2]].into_iter().chain(attempts) {
        let text = |key: &str| Taken::text(span, key);
        assert_eq!(
            text("network.peer.address").as_deref(),
            Some("127.0.0.1"),
            "{span:#?}"
        );
        assert!(text("micro.node.id").is_some(), "{span:#?}");
        assert_eq!(text("error.type"), None, "{span:#?}");
    }
}

#[tokio::test]
async fn a_failure_is_told_and_work_that_took_its_context_along_stays_in_the_trace() {
    let collector = Collector::start().await;
    let otlp = Otlp::to("relay", &collector.endpoint()).unwrap();
    let _subscribed = subscribe(&otlp);
    let registry = registry();
    let back = Hop::start("back", &registry, None, None).await;
    let front = Hop::start("front", &registry, Some("back"), None).await;
    let client = Client::builder(Arc::clone(&registry)).build().unwrap();
    let status = call(&client, "front", "spawn, and fail").await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    drop(client);
    back.stop().await.unwrap();
    front.stop().await.unwrap();
    otlp.shutdown(LONG).await.unwrap();

    let mut taken = collector.taken();
    taken.take("connect");
    taken.take("pick");
    assert_eq!(taken.spans.len(), 6, "{taken:#?}");
    assert!(
        taken
            .spans
            .iter()
            .all(|span| span.trace_id == taken.spans[0].trace_id),
        "{taken:#?}"
    );
    for span in &taken.spans {
        assert_eq!(
            Taken::text(span, "rpc.response.status_code").as_deref(),
            Some("INTERNAL")
        );
        assert_eq!(Taken::text(span, "error.type").as_deref(), Some("INTERNAL"));
        let status = span.status.as_ref().unwrap();
        assert_eq!(status.code, 2, "an error: {span:#?}");
    }
}

#[tokio::test]
async fn a_service_that_stops_has_sent_what_it_counted_under_the_names_of_opentelemetry() {
    let collector = Collector::start().await;
    let otlp = Otlp::to("relay", &collector.endpoint()).unwrap();
    let registry = registry();
    let hop = Hop::start("back", &registry, None, Some(&otlp)).await;
    let snapshot = registry.get_service("back").await.unwrap();
    let id = snapshot.nodes()[0].id().to_owned();
    let client = Client::builder(Arc::clone(&registry)).build().unwrap();
    for _ in 0..3 {
        call(&client, "back", "Ada").await.unwrap();
    }
    drop(client);
    hop.stop().await.unwrap();

    let taken = collector.taken();
    assert_eq!((taken.service.as_str(), taken.instance), ("relay", Some(id)));
    let calls = taken
        .metrics
        .iter()
        .find(|metric| metric.name == "rpc.server.call.duration");
    let calls = calls.unwrap_or_else(|| panic!("{:#?}", taken.metrics));
    assert_eq!(calls.unit, "s");
    let Some(Data::Histogram(histogram)) = &calls.data else {
        panic!("{calls:#?}");
    };
    let of_call = |point: &&HistogramDataPoint| {
        text(&point.attributes, "rpc.method").as_deref() == Some("test.Relay/Call")
    };
    let point = histogram.data_points.iter().find(of_call).unwrap();
    assert_eq!(point.count, 3, "{point:#?}");
    assert_eq!(point.bucket_counts.iter().sum::<u64>(), 3, "{point:#?}");
    assert_eq!(
        text(&point.attributes, "rpc.response.status_code").as_deref(),
        Some("OK")
    );
    let mut names: Vec<_> = taken.metrics.iter().map(|metric| metric.name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "micro.server.active_calls",
        "micro.server.calls_limit",
        "micro.server.open_connections",
        "micro.server.refused_calls",
        "micro.server.refused_connections",
        "micro.service.registered",
        "micro.service.registrations",
        "rpc.server.call.duration",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_collector_that_is_away_delays_no_call_and_no_stop() {
    let otlp = Otlp::to("relay", "http://127.0.0.1:1").unwrap();
    let _subscribed = subscribe(&otlp);
    // Far more than may wait.
    for _ in 0..10_000 {
        drop(info_span!("one of many"));
    }
    let registry = registry();
    let hop = Hop::start("back", &registry, None, Some(&otlp)).await;
    let client = Client::builder(Arc::clone(&registry)).build().unwrap();
    let started = Instant::now();
    for _ in 0..100 {
        call(&client, "back", "Ada").await.unwrap();
    }
    drop(client);
    hop.stop().await.unwrap();
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
}

#[tokio::test]
async fn without_a_collector_nothing_is_sent_and_what_a_caller_sent_travels_on() {
    let registry = registry();
    let back = Hop::start("back", &registry, None, None).await;
    let front = Hop::start("front", &registry, Some("back"), None).await;
    let client = Client::builder(Arc::clone(&registry)).build().unwrap();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let metadata = http::HeaderMap::from_iter([("traceparent".parse().unwrap(), parent.parse().unwrap())]);
    let context = micro::CallContext::new(None, metadata);
    let answer = context
        .scope(call(&client, "front", "traceparent"))
        .await
        .unwrap();
    assert_eq!(answer, parent);
    back.stop().await.unwrap();
    front.stop().await.unwrap();
}

#[test]
fn an_endpoint_that_is_none_says_what_is_allowed() {
    for wrong in [
        "",
        "127.0.0.1:4317",
        "https://collector",
        "http://collector",
        "ftp://collector:1",
    ] {
        let error = Otlp::to("relay", wrong).unwrap_err();
        assert_eq!(error.kind(), micro::ErrorKind::Config, "{wrong}");
        assert!(error.to_string().contains("https://HOST:PORT"), "{error}");
    }
}
