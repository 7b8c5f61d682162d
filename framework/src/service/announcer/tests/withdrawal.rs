//! Taking the node out: for a while, and for good.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_is_withdrawn_and_resumed() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    announcer.aim(Goal::Withdrawn);
    announcer
        .standing()
        .wait_for(|standing| !standing.present)
        .await
        .unwrap();
    time::sleep(10 * TTL).await;
    assert_eq!(
        (registry.nodes("greeter").await, registry.count(Call::Register)),
        (0, 1)
    );
    assert!(announcer.standing().borrow().confirmed);
    announcer.aim(Goal::Announced);
    announcer
        .standing()
        .wait_for(|standing| standing.present)
        .await
        .unwrap();
    time::sleep(Duration::from_millis(1)).await;
    assert_eq!(registry.nodes("greeter").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_that_fails_is_tried_again_while_the_node_is_not_wanted() {
    let registry = Scripted::new([Act::Answer, Act::Hang, UNAVAILABLE]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    announcer.aim(Goal::Withdrawn);
    announcer
        .standing()
        .wait_for(|standing| !standing.present)
        .await
        .unwrap();
    assert_eq!(registry.count(Call::Deregister), 3);
    assert_eq!(registry.nodes("greeter").await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_registration_under_way_gives_way_to_a_withdrawal() {
    let registry = Scripted::new([Act::Hang]);
    let announcer = announce(&registry);
    announcer
        .standing()
        .wait_for(|standing| standing.present)
        .await
        .unwrap();
    time::sleep(Duration::from_millis(1)).await;
    announcer.aim(Goal::Withdrawn);
    announcer
        .standing()
        .wait_for(|standing| !standing.present)
        .await
        .unwrap();
    assert_eq!(
        (registry.count(Call::Register), registry.count(Call::Deregister)),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_withdrawal_ends_in_time_although_the_registry_hangs() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    confirmed(&announcer).await;
    registry.always(Act::Hang);
    let started = Instant::now();
    announcer.withdraw().await;
    assert!(
        started.elapsed() <= WITHDRAW_TIMEOUT + Duration::from_millis(1),
        "{:?}",
        started.elapsed()
    );
    time::sleep(TTL).await;
    assert_eq!(registry.count(Call::Register), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_withdrawal_takes_back_an_attempt_whose_answer_never_came() {
    let registry = Scripted::new([Act::Hang]);
    let announcer = announce(&registry);
    time::sleep(Duration::from_secs(1)).await;
    announcer.withdraw().await;
    assert_eq!(registry.count(Call::Deregister), 1);
}
