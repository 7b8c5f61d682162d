//! The order of a life that nothing disturbs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::support::*;

const WHOLE_LIFE: [&str; 8] = [
    "before_start",
    "listen",
    "register",
    "after_start, ready",
    "before_stop, ready",
    "deregister",
    "close",
    "after_stop",
];

#[tokio::test(start_paused = true)]
async fn a_life_goes_from_the_first_hook_to_the_last() {
    for signal in ["SIGTERM", "SIGINT", "SIGQUIT"] {
        let (world, builder) = World::new([]);
        let run = world.start(builder);
        world.ready(true).await;
        world.signal(signal);
        run.ended().await.0.unwrap();
        assert_eq!(world.log.events(), WHOLE_LIFE);
        assert_eq!(world.registry.nodes("greeter").await, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_token_stops_as_a_signal_does() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    run.token.cancel();
    run.ended().await.0.unwrap();
    assert_eq!(world.log.events(), WHOLE_LIFE);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_users_stops_the_service_and_is_left_alone_by_it() {
    let shared = CancellationToken::new();
    let (world, builder) = World::new([]);
    let run = world.start(builder.cancellation_token(shared.clone()));
    world.ready(true).await;
    world.signal("SIGTERM");
    run.ended().await.0.unwrap();
    assert!(!shared.is_cancelled());
    let (other, builder) = World::new([]);
    let run = other.start(builder.cancellation_token(shared.clone()));
    other.ready(true).await;
    shared.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn hooks_of_one_point_run_in_the_order_in_which_they_were_added() {
    let (world, builder) = World::new([]);
    let builder = builder
        .before_start(world.writes("second"))
        .before_start(world.writes("third"));
    let run = world.start(builder);
    world.ready(true).await;
    run.token.cancel();
    run.ended().await.0.unwrap();
    assert_eq!(world.log.events()[..3], ["before_start", "second", "third"]);
}

#[tokio::test(start_paused = true)]
async fn callers_are_served_for_the_drain_delay_after_the_node_has_left_the_registry() {
    let (world, builder) = World::new([]);
    let delay = Duration::from_secs(3);
    let run = world.start(builder.drain_delay(delay));
    world.ready(true).await;
    world.signal("SIGTERM");
    let (result, took) = run.ended().await;
    result.unwrap();
    // The listener looks a moment longer for those who connect as it closes.
    let served = world.log.between("deregister", "close");
    assert!((delay..delay + MARGIN).contains(&served), "{served:?}");
    assert!(took < delay + MARGIN, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_start_takes_the_same_way_down() {
    let (world, builder) = World::new([Act::Hang]);
    let run = world.start(builder);
    world.registry.called(Call::Register).await;
    world.signal("SIGTERM");
    run.ended().await.0.unwrap();
    let expected = [
        "before_start",
        "listen",
        "register",
        "before_stop",
        "deregister",
        "close",
        "after_stop",
    ];
    assert_eq!(world.log.events(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_cancelled_before_starts_nothing() {
    let (world, builder) = World::new([]);
    let service = builder.build().unwrap();
    service.cancellation_token().cancel();
    service.run().await.unwrap();
    assert_eq!(world.log.events(), ["before_stop", "after_stop"]);
}

#[tokio::test(start_paused = true)]
async fn the_context_knows_the_service_and_where_it_listens_once_it_does() {
    let (world, builder) = World::new([]);
    let log = world.log.clone();
    let show = move |cx: crate::ServiceContext| {
        let address = cx.local_address().map(|address| address.to_string());
        log.write(format!(
            "{} {} {}",
            cx.service(),
            cx.id(),
            address.as_deref().unwrap_or("nowhere")
        ));
        std::future::ready(())
    };
    let run = world.start(builder.before_start(show.clone()).after_start(show));
    world.ready(true).await;
    run.token.cancel();
    run.ended().await.0.unwrap();
    let events = world.log.events();
    assert!(
        events.contains(&"greeter greeter-1 nowhere".to_owned()),
        "{events:?}"
    );
    assert!(
        events.contains(&"greeter greeter-1 127.0.0.1:9090, ready".to_owned()),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn tasks_run_with_the_service_are_asked_to_end_and_then_stopped() {
    let (world, builder) = World::new([]);
    let (polite, stubborn) = (world.log.clone(), Written(world.log.clone()));
    let builder = builder
        .task("polite", move |cx| async move {
            polite.write("task begins");
            cx.cancelled().await;
            polite.write("task ends");
        })
        .task("stubborn", move |_cx| async move {
            let _written = stubborn;
            std::future::pending::<()>().await;
        })
        .task("done", |_cx| async {});
    let run = world.start(builder);
    world.ready(true).await;
    world.signal("SIGTERM");
    run.ended().await.0.unwrap();
    let events = world.log.events();
    let expected = [
        "before_start",
        "listen",
        "task begins",
        "register",
        "after_start, ready",
        "before_stop, ready",
        "task ends, ready",
        "deregister",
        "close",
        "task stopped",
        "after_stop",
    ];
    let sorted = |events: &[String]| {
        let mut events = events.to_vec();
        events.sort();
        events
    };
    assert_eq!(sorted(&events), sorted(&expected.map(str::to_owned)));
    let at = |event: &str| events.iter().position(|seen| seen == event).unwrap();
    assert!(
        at("listen") < at("register") && at("task ends, ready") < at("deregister"),
        "{events:?}"
    );
    assert!(
        at("close") < at("task stopped") && at("task stopped") < at("after_stop"),
        "{events:?}"
    );
}

/// Writes down that it is gone.
struct Written(crate::service::testing::Log);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.write("task stopped");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_run_cuts_everything() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    run.task.abort();
    assert!(run.task.await.unwrap_err().is_cancelled());
    assert_eq!(world.log.events().last().unwrap(), "close, ready");
    let before = world.registry.count(Call::Register);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(world.registry.count(Call::Register), before);
}
