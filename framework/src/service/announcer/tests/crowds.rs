//! Many nodes that lost their registry do not come back all at once.

use super::*;

const NODES: usize = 500;
/// Over how long they come back when the registry is back: the longest wait between two attempts.
const SPREAD: Duration = Duration::from_secs(5);
/// How exactly the time of each attempt is known.
const STEP: Duration = Duration::from_millis(10);
/// Until when all of them are registered.
const ALL_BACK: Duration = Duration::from_secs(15);

/// Starts the nodes, one after the other over `within`.
async fn crowd(registry: &Arc<Scripted>, within: Duration) -> Vec<Announcer> {
    let mut announcers = Vec::new();
    for at in 0..NODES {
        let mut announcement = announcement(registry);
        announcement.node = Arc::new(node(&format!("greeter-{at}"), "this"));
        let announcer = Announcer::start(announcement, Control::on(Handle::current()));
        announcer.aim(Goal::Announced);
        announcers.push(announcer);
        time::advance(within / u32::try_from(NODES).unwrap()).await;
    }
    announcers
}

/// Lets the registry answer again, and checks how the nodes come back.
async fn check_return(registry: &Arc<Scripted>, what: &str) {
    let (back, before) = (Instant::now(), registry.count(Call::Register));
    registry.always(Act::Answer);
    while back.elapsed() < ALL_BACK {
        time::advance(STEP).await;
    }
    assert_eq!(registry.nodes("greeter").await, NODES, "{what}");

    let attempts = registry.times(Call::Register).split_off(before);
    // Each comes once: renewals begin two thirds of their interval later at the earliest.
    let came: Vec<_> = attempts.iter().map(|at| *at - back).take(NODES).collect();
    assert!(came[NODES - 1] <= ALL_BACK, "{what}: {came:?}");
    let most = came
        .iter()
        .map(|start| {
            came.iter()
                .filter(|at| (*start..*start + Duration::from_secs(1)).contains(*at))
        })
        .map(Iterator::count)
        .max()
        .unwrap();
    let allowed = 1.5 * NODES as f64 / SPREAD.as_secs_f64();
    assert!(
        most as f64 <= allowed,
        "{what}: {most} of {NODES} came within a second"
    );
}

#[tokio::test(start_paused = true)]
async fn nodes_whose_registry_was_away_come_back_one_after_the_other() {
    for outage_s in [1, 3, 5, 10, 60] {
        // The waits are random, yet the same in every run.
        fastrand::seed(outage_s);
        let registry = Scripted::new([]);
        // Renewals are spread, as those of nodes are that have lived for a while.
        let _announcers = crowd(&registry, TTL / 3).await;
        registry.always(UNAVAILABLE);
        time::sleep(Duration::from_secs(outage_s)).await;
        check_return(&registry, &format!("away for {outage_s} s")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_started_together_without_a_registry_come_one_after_the_other() {
    fastrand::seed(1);
    let registry = Scripted::new([]);
    registry.always(UNAVAILABLE);
    let _announcers = crowd(&registry, Duration::ZERO).await;
    time::sleep(Duration::from_secs(60)).await;
    check_return(&registry, "never there").await;
}
