//! A stop ends in its time, whatever clients, handlers, hooks and registry do.

use std::{future::pending, time::Duration};

use http::Request;
use tokio::time;
use tonic::body::Body;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower_service::Service as _;

use super::support::*;
use crate::ErrorKind;

const DRAIN_DELAY: Duration = Duration::from_secs(2);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(28);

/// A call to a handler that never returns, in a task of its own.
fn call_endless(world: &World) -> tokio::task::JoinHandle<Result<http::Response<Body>, tonic::Status>> {
    let mut channel = world.client().channel("greeter");
    let request = Request::post(ENDLESS).body(Body::empty()).unwrap();
    tokio::spawn(async move { channel.call(request).await })
}

#[tokio::test(start_paused = true)]
async fn without_clients_a_stop_takes_the_drain_delay() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    result.unwrap();
    assert!((DRAIN_DELAY..DRAIN_DELAY + MARGIN).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_in_time_with_an_open_health_watch_and_a_handler_that_never_returns() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    let mut health = HealthClient::new(world.client().channel("greeter"));
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    let call = call_endless(&world);
    world.handlers(1).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    result.unwrap();
    let all = DRAIN_DELAY + DRAIN_TIMEOUT;
    assert!((all..=all + MARGIN).contains(&took), "{took:?}");
    assert!(call.await.unwrap().is_err());
    assert_eq!(*world.handlers.borrow(), 0);
    assert_eq!(world.log.events().last().unwrap(), "after_stop");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_down_holds_up_no_stop() {
    for act in [Act::Hang, Act::Fail(micro_registry::ErrorKind::Unavailable)] {
        let (world, builder) = World::new([]);
        let run = world.start(builder);
        world.ready(true).await;
        world.registry.always(act);
        let call = call_endless(&world);
        world.handlers(1).await;
        world.signal("SIGTERM");
        let (result, took) = run.ended().await;
        result.unwrap();
        let all = DRAIN_DELAY + DRAIN_TIMEOUT;
        assert!((all..=all + MARGIN).contains(&took), "{took:?}");
        call.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn hooks_that_hang_are_stopped_each_in_its_time() {
    let (world, builder) = World::new([]);
    let builder = builder
        .before_stop(|_cx| pending::<()>())
        .after_stop(|_cx| pending::<()>());
    let run = world.start(builder);
    world.ready(true).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(error.to_string(), "before_stop hook 2 took longer than 10s");
    assert!(
        (Duration::from_secs(22)..Duration::from_secs(23)).contains(&took),
        "{took:?}"
    );
    assert_eq!(world.registry.nodes("greeter").await, 0);
}

#[tokio::test(start_paused = true)]
async fn all_of_the_way_down_ends_with_the_stop_timeout() {
    let (world, builder) = World::new([]);
    let builder = builder
        .hook_timeout(Duration::from_secs(15))
        .before_stop(|_cx| pending::<()>());
    let run = world.start(builder);
    world.ready(true).await;
    let call = call_endless(&world);
    world.handlers(1).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    // What failed first is what is told.
    assert_eq!(
        result.unwrap_err().to_string(),
        "before_stop hook 2 took longer than 15s"
    );
    assert!((STOP_TIMEOUT..STOP_TIMEOUT + MARGIN).contains(&took), "{took:?}");
    assert!(call.await.unwrap().is_err());
    world.handlers(0).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_only_takes_too_long_says_so() {
    let (world, builder) = World::new([]);
    let run = world.start(builder.stop_timeout(Duration::from_secs(3)));
    world.ready(true).await;
    let call = call_endless(&world);
    world.handlers(1).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.to_string().contains("longer than 3s"), "{error}");
    assert!(took < Duration::from_secs(3) + MARGIN, "{took:?}");
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn the_second_signal_ends_at_once() {
    for signals in [["SIGTERM", "SIGTERM"], ["SIGTERM", "SIGINT"]] {
        let (world, builder) = World::new([]);
        let run = world.start(builder.before_stop(|_cx| pending::<()>()));
        world.ready(true).await;
        let call = call_endless(&world);
        world.handlers(1).await;
        world.signal(signals[0]);
        world.log.written("before_stop, ready").await;
        world.signal(signals[1]);
        let (result, took) = run.ended().await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
        assert!(took < MARGIN, "{took:?}");
        assert!(call.await.unwrap().is_err());
        world.handlers(0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_in_flight_finishes_within_the_drain_timeout() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    let mut health = HealthClient::new(world.client().channel("greeter"));
    health.check(HealthCheckRequest::default()).await.unwrap();
    world.signal("SIGTERM");
    world.log.written("deregister").await;
    time::sleep(DRAIN_DELAY / 2).await;
    // Left the registry, and still answers those who know it.
    health.check(HealthCheckRequest::default()).await.unwrap();
    run.ended().await.0.unwrap();
    assert!(health.check(HealthCheckRequest::default()).await.is_err());
}
