//! Every scenario from a few seeds; `cargo xtask simulate` takes more.

use micro_simulation::{SCENARIOS, run};

/// How many seeds of each scenario.
const SEEDS: u64 = 3;

/// Runs the scenario of this name.
fn holds(name: &str) {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
    let scenario = scenario.expect("the scenario is listed");
    for seed in 0..SEEDS {
        let report = run(scenario, seed);
        let violations = &report.violations;
        assert!(violations.is_empty(), "{name}, seed {seed}: {violations:#?}");
        assert!(
            report.calls > 1_000,
            "{name}, seed {seed}: {} calls",
            report.calls
        );
    }
}

#[test]
fn every_scenario_is_among_these() {
    let names = SCENARIOS.map(|scenario| scenario.name);
    let tested = [
        "partition",
        "one-way",
        "hold",
        "weather",
        "slow",
        "crash",
        "rolling",
        "registry",
        "storm",
    ];
    assert_eq!(names, tested);
}

#[test]
fn a_server_that_is_cut_off_costs_no_idempotent_call() {
    holds("partition");
}

#[test]
fn a_server_that_is_heard_in_one_direction_costs_no_idempotent_call() {
    holds("one-way");
}

#[test]
fn a_server_that_falls_silent_costs_no_idempotent_call() {
    holds("hold");
}

#[test]
fn a_bad_network_costs_no_call() {
    holds("weather");
}

#[test]
fn a_slow_server_costs_no_call() {
    holds("slow");
}

#[test]
fn a_crash_costs_no_idempotent_call() {
    holds("crash");
}

#[test]
fn a_rolling_restart_costs_no_call() {
    holds("rolling");
}

#[test]
fn a_registry_that_fails_costs_no_call() {
    holds("registry");
}

#[test]
fn whatever_happens_no_call_runs_twice_that_must_not() {
    holds("storm");
}
