//! The registry of these tests does what a script says, on a clock that stands still.

mod crowds;
mod gaps;
mod told;
mod warnings;
mod withdrawal;

use std::time::Duration;

use micro_registry::ErrorKind as RegistryErrorKind;
use tokio::{
    runtime::Handle,
    task,
    time::{self, Instant},
};

use super::*;
use crate::service::testing::{Act, Call, Scripted};

const TTL: Duration = Duration::from_secs(30);
const REGISTRY_TIMEOUT: Duration = Duration::from_secs(10);
const UNAVAILABLE: Act = Act::Fail(RegistryErrorKind::Unavailable);
const CONFLICT: Act = Act::Fail(RegistryErrorKind::Conflict);

fn node(id: &str, boot: &str) -> Node {
    Node::builder("greeter".parse().unwrap(), id, "127.0.0.1:9090".parse().unwrap())
        .boot(boot)
        .build()
        .unwrap()
}

fn announcement(registry: &Arc<Scripted>) -> Announcement {
    Announcement {
        registry: Arc::clone(registry) as Arc<dyn Registry>,
        node: Arc::new(node("greeter-1", "this")),
        ttl: TTL,
        registry_timeout: REGISTRY_TIMEOUT,
        clock: WallClock::default(),
        telemetry: Telemetry::new(),
    }
}

/// An announcer whose node is wanted.
fn announce(registry: &Arc<Scripted>) -> Announcer {
    let announcer = Announcer::start(announcement(registry), Control::on(Handle::current()));
    announcer.aim(Goal::Announced);
    announcer
}

async fn confirmed(announcer: &Announcer) {
    announcer
        .standing()
        .wait_for(|standing| standing.confirmed)
        .await
        .unwrap();
}

/// Confirmed, and waiting for the next renewal.
async fn at_rest(announcer: &Announcer) {
    confirmed(announcer).await;
    for _ in 0..10 {
        task::yield_now().await;
    }
}

async fn refused(announcer: &Announcer) -> Error {
    let mut standing = announcer.standing();
    let standing = standing
        .wait_for(|standing| standing.refused.is_some())
        .await
        .unwrap();
    standing.refused.clone().unwrap().into()
}

fn gaps(times: &[Instant]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_announced_before_it_is_wanted() {
    let registry = Scripted::new([]);
    let announcer = Announcer::start(announcement(&registry), Control::on(Handle::current()));
    time::sleep(TTL).await;
    assert_eq!(registry.count(Call::Register), 0);
    announcer.withdraw().await;
    assert_eq!(registry.count(Call::Deregister), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_is_renewed_every_third_of_its_ttl_with_jitter() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    time::sleep(10 * TTL).await;
    let gaps = gaps(&registry.times(Call::Register));
    assert!(gaps.len() >= 30, "{gaps:?}");
    for gap in &gaps {
        assert!(
            (Duration::from_secs(8)..=Duration::from_secs(10)).contains(gap),
            "{gap:?}"
        );
    }
    assert!(gaps.iter().any(|gap| *gap != gaps[0]), "no jitter: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_at_start_is_tried_again_with_growing_bounds() {
    let registry = Scripted::new([]);
    registry.always(UNAVAILABLE);
    let announcer = announce(&registry);
    time::sleep(Duration::from_secs(600)).await;
    assert!(!announcer.standing().borrow().confirmed);
    let gaps = gaps(&registry.times(Call::Register));
    assert!(gaps[0] <= Duration::from_millis(501), "{gaps:?}");
    assert!(
        gaps.iter().all(|gap| *gap <= Duration::from_millis(5_001)),
        "{gaps:?}"
    );
    // At the cap the mean wait is 2.5 s: far from both a busy loop and a standstill.
    assert!((120..=480).contains(&gaps.len()), "{} attempts", gaps.len());
    let back = Instant::now();
    registry.always(Act::Answer);
    confirmed(&announcer).await;
    assert!(back.elapsed() <= Duration::from_secs(7), "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_short_registration_is_tried_again_before_it_runs_out() {
    let registry = Scripted::new([]);
    registry.always(UNAVAILABLE);
    let announcement = Announcement {
        ttl: Duration::from_secs(6),
        ..announcement(&registry)
    };
    let announcer = Announcer::start(announcement, Control::on(Handle::current()));
    announcer.aim(Goal::Announced);
    time::sleep(Duration::from_secs(600)).await;
    for gap in gaps(&registry.times(Call::Register)) {
        assert!(gap <= Duration::from_millis(1_001), "{gap:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_that_changes_nothing_and_the_node_is_restored_when_the_registry_is_back() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    registry.always(UNAVAILABLE);
    time::sleep(20 * TTL).await;
    assert!(announcer.standing().borrow().confirmed);
    assert_eq!(registry.count(Call::Deregister), 0);
    assert_eq!(registry.nodes("greeter").await, 0);
    registry.always(Act::Answer);
    time::sleep(Duration::from_secs(7)).await;
    assert_eq!(registry.nodes("greeter").await, 1);
}

#[tokio::test(start_paused = true)]
async fn wrong_configuration_and_refused_credentials_are_final_until_the_first_success() {
    use RegistryErrorKind::{InvalidArgument, PermissionDenied, Unauthenticated};
    for kind in [InvalidArgument, Unauthenticated, PermissionDenied] {
        let registry = Scripted::new([UNAVAILABLE, Act::Fail(kind)]);
        let announcer = announce(&registry);
        let error = refused(&announcer).await;
        assert_eq!(error.kind(), ErrorKind::Registry);
        assert_eq!(
            format!("{error:#}"),
            "register node `greeter-1` of `greeter`: as the script says"
        );
        time::sleep(TTL).await;
        assert_eq!(registry.count(Call::Register), 2, "{kind}");
        announcer.withdraw().await;
        assert_eq!(registry.count(Call::Deregister), 0, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_later_is_tried_again() {
    let denied = Act::Fail(RegistryErrorKind::PermissionDenied);
    let registry = Scripted::new([Act::Answer, denied, denied]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    time::sleep(TTL).await;
    assert!(registry.count(Call::Register) >= 4);
    let standing = announcer.standing().borrow().clone();
    assert!(standing.confirmed && standing.refused.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_given_up_after_two_ttls_and_the_holder_is_not_disturbed() {
    let registry = Scripted::new([]);
    let other = node("greeter-1", "other");
    registry.memory().register(&other, 100 * TTL).await.unwrap();
    let announcer = announce(&registry);
    let started = Instant::now();
    let error = refused(&announcer).await;
    assert!(
        (2 * TTL..3 * TTL).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
    assert!(
        error.to_string().contains("another node has had this id for 60s"),
        "{error}"
    );
    assert!(!announcer.standing().borrow().confirmed);
    announcer.withdraw().await;
    assert_eq!(registry.count(Call::Deregister), 0);
    let snapshot = registry.memory().get_service("greeter").await.unwrap();
    assert_eq!(snapshot.nodes()[0].boot(), "other");
}

#[tokio::test(start_paused = true)]
async fn a_node_with_a_fixed_id_comes_back_to_its_own_old_record() {
    let registry = Scripted::new([]);
    let before_the_kill = node("greeter-1", "before");
    registry.memory().register(&before_the_kill, TTL).await.unwrap();
    let started = Instant::now();
    confirmed(&announce(&registry)).await;
    assert!(
        (TTL..2 * TTL).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn an_id_that_another_boot_took_meanwhile_makes_the_node_not_ready() {
    let registry = Scripted::new([Act::Answer, CONFLICT, CONFLICT]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    announcer
        .standing()
        .wait_for(|standing| !standing.confirmed)
        .await
        .unwrap();
    confirmed(&announcer).await;
    assert_eq!(registry.count(Call::Register), 4);
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_hangs_gets_one_attempt_at_a_time_each_bounded() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    registry.always(Act::Hang);
    time::sleep(4 * TTL).await;
    let during = registry.times(Call::Register);
    for gap in gaps(&during[1..]) {
        let bounds = REGISTRY_TIMEOUT..=REGISTRY_TIMEOUT + Duration::from_millis(5_002);
        assert!(bounds.contains(&gap), "{gap:?}");
    }
    registry.always(Act::Answer);
    time::sleep(REGISTRY_TIMEOUT + Duration::from_secs(6)).await;
    assert_eq!(registry.nodes("greeter").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_registry_loses_no_lease() {
    let registry = Scripted::new([]);
    registry.always(Act::Slow(Duration::from_secs(5)));
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    for _ in 0..300 {
        time::sleep(Duration::from_secs(1)).await;
        assert_eq!(registry.nodes("greeter").await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_tried_again() {
    let registry = Scripted::new([Act::Panic, Act::Panic]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    assert_eq!(registry.count(Call::Register), 3);
}

#[tokio::test]
async fn renewals_go_on_while_every_worker_of_the_callers_runtime_is_blocked() {
    let registry = Scripted::new([]);
    let calls = registry.tell();
    let announcement = Announcement {
        ttl: Duration::from_secs(1),
        ..announcement(&registry)
    };
    let announcer = Announcer::start(announcement, Control::start().unwrap());
    announcer.aim(Goal::Announced);
    // This test has one worker, and blocks it.
    for _ in 0..3 {
        calls.recv_timeout(Duration::from_secs(30)).unwrap();
    }
    drop(announcer);
}
