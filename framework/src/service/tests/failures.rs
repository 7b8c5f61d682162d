//! A start or a stop that fails at each of its steps: the same way down, and the first error returned.

use std::time::Duration;

use futures_util::future::BoxFuture;
use micro_registry::ErrorKind as RegistryErrorKind;
use tokio::{net::TcpListener, time};

use super::support::*;
use crate::{ErrorKind, ServiceBuilder, ServiceContext};

/// How a piece of the user's code ends.
#[derive(Clone, Copy)]
enum Ending {
    Error,
    Panic,
    Never,
}

/// A hook that writes `name` down and ends so.
fn fails(
    world: &World,
    name: &'static str,
    ending: Ending,
) -> impl Fn(ServiceContext) -> BoxFuture<'static, Result<(), &'static str>> + Send + Sync + use<> {
    let log = world.log.clone();
    move |_cx| {
        log.write(name);
        Box::pin(async move {
            match ending {
                Ending::Error => Err("as the test says"),
                Ending::Panic => panic!("as the test says"),
                Ending::Never => std::future::pending().await,
            }
        })
    }
}

const ENDINGS: [(Ending, ErrorKind); 3] = [
    (Ending::Error, ErrorKind::Hook),
    (Ending::Panic, ErrorKind::Hook),
    (Ending::Never, ErrorKind::Timeout),
];

/// Adds a hook that fails at one point.
type Add = fn(ServiceBuilder, &World, Ending) -> ServiceBuilder;

/// Runs a service with that hook for each way to fail, and compares the order of its life.
async fn fails_everywhere(add: Add, expected: &[&str], what: &str) {
    for (ending, kind) in ENDINGS {
        let (world, builder) = World::new([]);
        let mut run = world.start(add(builder, &world, ending)).task;
        // Long enough for the start to have failed, if it is to fail.
        let result = match time::timeout(Duration::from_secs(60), &mut run).await {
            Ok(result) => result.unwrap(),
            Err(_) => {
                world.signal("SIGTERM");
                run.await.unwrap()
            }
        };
        let error = result.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:#}");
        assert!(error.to_string().starts_with(what), "{error:#}");
        assert_eq!(without_renewals(world.log.events()), expected);
        assert_eq!(world.registry.nodes("greeter").await, 0);
    }
}

fn without_renewals(mut events: Vec<String>) -> Vec<String> {
    events.retain(|event| event != "register, ready");
    events
}

#[tokio::test(start_paused = true)]
async fn a_before_start_hook_that_fails_announces_nothing() {
    let add: Add = |builder, world, ending| builder.before_start(fails(world, "fails", ending));
    let expected = ["before_start", "fails", "before_stop", "after_stop"];
    fails_everywhere(add, &expected, "before_start hook 2").await;
}

#[tokio::test(start_paused = true)]
async fn an_after_start_hook_that_fails_takes_the_node_out_again() {
    let add: Add = |builder, world, ending| builder.after_start(fails(world, "fails", ending));
    let expected = [
        "before_start",
        "listen",
        "register",
        "after_start, ready",
        "fails, ready",
        "before_stop, ready",
        "deregister",
        "close",
        "after_stop",
    ];
    fails_everywhere(add, &expected, "after_start hook 2").await;
}

#[tokio::test(start_paused = true)]
async fn a_before_stop_hook_that_fails_changes_nothing_after_it() {
    let add: Add = |builder, world, ending| builder.before_stop(fails(world, "fails", ending));
    let expected = [
        "before_start",
        "listen",
        "register",
        "after_start, ready",
        "before_stop, ready",
        "fails, ready",
        "deregister",
        "close",
        "after_stop",
    ];
    fails_everywhere(add, &expected, "before_stop hook 2").await;
}

#[tokio::test(start_paused = true)]
async fn an_after_stop_hook_that_fails_is_the_last_to_fail() {
    let add: Add = |builder, world, ending| builder.after_stop(fails(world, "fails", ending));
    let expected = [
        "before_start",
        "listen",
        "register",
        "after_start, ready",
        "before_stop, ready",
        "deregister",
        "close",
        "after_stop",
        "fails",
    ];
    fails_everywhere(add, &expected, "after_stop hook 2").await;
}

#[tokio::test]
async fn a_port_in_use_is_said_and_nothing_is_announced() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (world, builder) = World::new([]);
    let builder = builder.over_tcp().address(&address);
    let error = builder.build().unwrap().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert!(
        format!("{error:#}").starts_with(&format!("listen on `{address}`: ")),
        "{error:#}"
    );
    assert_eq!(world.log.events(), ["before_start", "before_stop", "after_stop"]);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_refuses_the_node_ends_the_start() {
    use RegistryErrorKind::{InvalidArgument, PermissionDenied, Unauthenticated};
    for kind in [InvalidArgument, PermissionDenied, Unauthenticated] {
        let (world, builder) = World::new([Act::Fail(kind)]);
        let (result, took) = world.start(builder).ended().await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry);
        assert_eq!(
            format!("{error:#}"),
            "register node `greeter-1` of `greeter`: as the script says"
        );
        let expected = [
            "before_start",
            "listen",
            "register",
            "before_stop",
            "close",
            "after_stop",
        ];
        assert_eq!(world.log.events(), expected);
        // Nobody was told of it, so there is nobody to wait for.
        assert!(took < MARGIN, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_that_another_node_keeps_ends_the_service_after_two_ttls() {
    let (world, builder) = World::new([]);
    world.registry.always(Act::Fail(RegistryErrorKind::Conflict));
    let ttl = Duration::from_secs(30);
    let (result, took) = world.start(builder.ttl(ttl)).ended().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry);
    assert!(
        error.to_string().contains("another node has had this id"),
        "{error}"
    );
    assert!((2 * ttl..2 * ttl + MARGIN).contains(&took), "{took:?}");
    assert_eq!(world.registry.count(Call::Deregister), 0);
    assert!(!world.log.events().contains(&"after_start".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_or_panics_stops_the_service() {
    async fn bug(_cx: ServiceContext) {
        let _ = time::timeout(Duration::from_secs(60), std::future::pending::<()>()).await;
        panic!("a bug")
    }
    let (world, builder) = World::new([]);
    let (result, _) = world.start(builder.task("consume", bug)).ended().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Hook);
    assert!(
        error.to_string().starts_with("task `consume` panicked"),
        "{error:#}"
    );
    let events = without_renewals(world.log.events());
    assert_eq!(
        events[4..],
        ["before_stop, ready", "deregister", "close", "after_stop"]
    );

    let (world, builder) = World::new([]);
    let failing = builder.task("consume", |_cx| async { Err::<(), _>("no queue") });
    let error = world.start(failing).ended().await.0.unwrap_err();
    assert_eq!(format!("{error:#}"), "task `consume` failed: no queue");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_stops_the_service() {
    let (world, builder) = World::new([]);
    let (result, _) = world.start(builder.listener(Broken)).ended().await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server);
    assert_eq!(error.to_string(), "accept connections on 127.0.0.1:1");
    assert_eq!(world.log.events().last().unwrap(), "after_stop");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_is_a_warning() {
    for act in [Act::Fail(RegistryErrorKind::Unavailable), Act::Hang, Act::Panic] {
        let (world, builder) = World::new([]);
        let run = world.start(builder);
        world.ready(true).await;
        world.registry.always(act);
        world.signal("SIGTERM");
        run.ended().await.0.unwrap();
        assert_eq!(world.log.events().last().unwrap(), "after_stop");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_error_is_returned_whatever_fails_after_it() {
    let (world, builder) = World::new([]);
    let builder = builder
        .before_start(fails(&world, "first", Ending::Error))
        .before_stop(fails(&world, "second", Ending::Panic))
        .after_stop(fails(&world, "third", Ending::Never));
    let error = world.start(builder).ended().await.0.unwrap_err();
    assert_eq!(
        format!("{error:#}"),
        "before_start hook 2 failed: as the test says"
    );
    let expected = [
        "before_start",
        "first",
        "before_stop",
        "second",
        "after_stop",
        "third",
    ];
    assert_eq!(world.log.events(), expected);
}
