//! What is told of a registration.

use super::*;

fn told(telemetry: &Telemetry, series: &str) -> u64 {
    let text = telemetry.render();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("micro_service_")?.strip_prefix(series));
    line.unwrap_or_else(|| panic!("no {series} in\n{text}"))
        .trim()
        .parse()
        .unwrap()
}

const REGISTERED: &str = "registered{micro_registry=\"scripted\"}";

fn asked(action: &str, outcome: &str) -> String {
    format!(
        "registrations_total{{micro_registry=\"scripted\",micro_action=\"{action}\",micro_outcome=\"{outcome}\"}}"
    )
}

#[tokio::test(start_paused = true)]
async fn each_call_into_the_registry_is_told_and_whether_the_node_is_there() {
    let registry = Scripted::new([UNAVAILABLE, Act::Answer, UNAVAILABLE]);
    let announcer = announce(&registry);
    let telemetry = announcer.announcement.telemetry.clone();
    assert_eq!(told(&telemetry, REGISTERED), 0);
    confirmed(&announcer).await;
    assert_eq!(told(&telemetry, &asked("announce", "failed")), 1);
    assert_eq!(told(&telemetry, &asked("announce", "ok")), 1);
    assert_eq!(told(&telemetry, REGISTERED), 1);
    time::sleep(TTL).await;
    assert_eq!(told(&telemetry, &asked("renew", "failed")), 1);
    assert!(told(&telemetry, &asked("renew", "ok")) >= 2);
    assert_eq!(told(&telemetry, REGISTERED), 1, "an outage takes no registration");
    announcer.aim(Goal::Withdrawn);
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(told(&telemetry, &asked("withdraw", "ok")), 1);
    assert_eq!(told(&telemetry, REGISTERED), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_id_another_one_takes_and_one_that_stops_are_registered_no_longer() {
    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    let telemetry = announcer.announcement.telemetry.clone();
    confirmed(&announcer).await;
    registry.always(CONFLICT);
    time::sleep(TTL / 2).await;
    assert_eq!(told(&telemetry, REGISTERED), 0);

    let registry = Scripted::new([]);
    let announcer = announce(&registry);
    let telemetry = announcer.announcement.telemetry.clone();
    confirmed(&announcer).await;
    registry.always(UNAVAILABLE);
    announcer.withdraw().await;
    assert_eq!(told(&telemetry, &asked("withdraw", "failed")), 1);
    assert_eq!(told(&telemetry, REGISTERED), 0);
}
