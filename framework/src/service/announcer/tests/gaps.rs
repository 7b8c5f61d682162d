//! A process or a host that stood still.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use super::*;
use crate::service::announcer::task::TICK;

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_registers_before_anything_else() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    at_rest(&announcer).await;
    // Within the time to the next renewal, as a stop beyond it makes the renewal due anyway.
    time::advance(Duration::from_secs(5)).await;
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(registry.count(Call::Register), 2);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_stopped_for_two_ttls_is_back_at_once() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    at_rest(&announcer).await;
    time::advance(2 * TTL).await;
    assert_eq!(registry.nodes("greeter").await, 0);
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(registry.nodes("greeter").await, 1);
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(registry.count(Call::Register), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_the_stop_is_not_believed() {
    let registry = Scripted::new([Act::Answer, Act::Slow(Duration::from_secs(1))]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    while registry.count(Call::Register) < 2 {
        time::sleep(Duration::from_millis(100)).await;
    }
    time::advance(2 * TTL).await;
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(registry.count(Call::Register), 3);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_suspended_registers_within_a_tick_of_waking() {
    let registry = Scripted::new([]);
    let (wall, started) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let suspended = Arc::clone(&wall);
    let clock = WallClock::new(move || {
        SystemTime::UNIX_EPOCH + started.elapsed() + Duration::from_secs(suspended.load(Ordering::Relaxed))
    });
    let announcement = Announcement {
        clock,
        ..announcement(&registry)
    };
    let announcer = Announcer::start(announcement, Control::on(Handle::current()));
    announcer.aim(Goal::Announced);
    at_rest(&announcer).await;
    wall.store(3600, Ordering::Relaxed);
    time::sleep(2 * TICK).await;
    assert_eq!(registry.count(Call::Register), 2);
    time::sleep(Duration::from_secs(5)).await;
    assert_eq!(registry.count(Call::Register), 2);
}
