//! Checks decide whether the service is in the registry.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time;

use super::support::*;
use crate::ServiceBuilder;

const INTERVAL: Duration = Duration::from_secs(5);

/// A check that passes while the switch is on.
fn switched(builder: ServiceBuilder, on: bool) -> (ServiceBuilder, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(on));
    let read = Arc::clone(&switch);
    let builder = builder.check("db", move |_cx| {
        let pass = read.load(Ordering::Relaxed);
        async move { if pass { Ok(()) } else { Err("away") } }
    });
    (builder, switch)
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_check_fails_is_not_announced_until_it_passes() {
    let (world, builder) = World::new([]);
    let (builder, db) = switched(builder, false);
    let run = world.start(builder);
    time::sleep(Duration::from_secs(300)).await;
    assert_eq!(world.log.events(), ["before_start", "listen"]);
    assert!(!world.is_ready());
    db.store(true, Ordering::Relaxed);
    time::sleep(INTERVAL + MARGIN).await;
    assert!(world.is_ready());
    assert_eq!(world.registry.nodes("greeter").await, 1);
    run.token.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_check_that_begins_to_fail_withdraws_the_node_until_it_passes_again() {
    let (world, builder) = World::new([]);
    let (builder, db) = switched(builder, true);
    let run = world.start(builder);
    world.ready(true).await;
    for _ in 0..3 {
        db.store(false, Ordering::Relaxed);
        time::sleep(INTERVAL + MARGIN).await;
        assert!(!world.is_ready());
        assert_eq!(world.registry.nodes("greeter").await, 0);
        time::sleep(10 * INTERVAL).await;
        assert_eq!(world.registry.nodes("greeter").await, 0);
        db.store(true, Ordering::Relaxed);
        time::sleep(INTERVAL + MARGIN).await;
        assert!(world.is_ready());
        assert_eq!(world.registry.nodes("greeter").await, 1);
    }
    let events = world.log.events();
    assert_eq!(
        events
            .iter()
            .filter(|event| event.starts_with("after_start"))
            .count(),
        1,
        "{events:?}"
    );
    run.token.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_a_check_fails_has_nobody_to_wait_for() {
    let (world, builder) = World::new([]);
    let (builder, db) = switched(builder, true);
    let run = world.start(builder);
    world.ready(true).await;
    db.store(false, Ordering::Relaxed);
    time::sleep(INTERVAL + MARGIN).await;
    run.token.cancel();
    let (result, took) = run.ended().await;
    result.unwrap();
    assert!(took < MARGIN, "{took:?}");
    assert_eq!(world.registry.count(Call::Deregister), 1);
}
