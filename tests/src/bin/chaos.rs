//! Runs faults of FAULTS.md at their full length, and shows what was measured beside what is allowed.

use std::{env, panic::AssertUnwindSafe, process::ExitCode, time::Duration};

use clap::Parser;
use futures_util::FutureExt as _;
use micro_tests::laboratory::{
    Backend, Outcome, Pace, Setup,
    scenarios::{ALL, Scenario},
};
use tokio::signal::unix::{SignalKind, signal};

/// Runs faults of FAULTS.md with real services, real registries and a real load.
#[derive(Debug, Parser)]
struct Arguments {
    /// The faults, such as F12, or scenarios, such as `f12_memory_lost`. Default: all
    faults: Vec<String>,
    /// The registry. Default: each that the fault can happen with
    #[arg(long, value_enum)]
    registry: Option<Backend>,
    /// Takes as little time as the tests do
    #[arg(long)]
    short: bool,
    /// Only says which faults there are
    #[arg(long)]
    list: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = match chosen(&arguments.faults) {
        Ok(chosen) => chosen,
        Err(unknown) => {
            eprintln!("error: there is no scenario {unknown}; there are: {}", names());
            return ExitCode::FAILURE;
        }
    };
    if arguments.list {
        for scenario in chosen {
            println!("{} {:28} {}", scenario.fault, scenario.name, scenario.what);
        }
        return ExitCode::SUCCESS;
    }
    let pace = if arguments.short { Pace::Short } else { Pace::Full };
    let mut rows = Vec::new();
    let mut missed = false;
    let mut told = signal(SignalKind::terminate()).expect("SIGTERM can be received");
    for scenario in chosen {
        let backends = scenario.backends.iter().copied();
        for backend in backends.filter(|backend| arguments.registry.is_none_or(|only| only == *backend)) {
            println!("{} with {}: {} …", scenario.fault, backend.name(), scenario.what);
            let setup = Setup {
                pace,
                backend,
                probe: probe(),
            };
            // What cannot be set up is a failure of this scenario, not the end of the others.
            let run = AssertUnwindSafe(scenario.run(setup)).catch_unwind();
            let ended = tokio::select! {
                ended = run => ended,
                // Whatever the scenario has started ends with it.
                _ = tokio::signal::ctrl_c() => return ExitCode::FAILURE,
                _ = told.recv() => return ExitCode::FAILURE,
            };
            match ended {
                Ok(outcome) => {
                    println!("{outcome}");
                    let met = outcome.misses(pace).is_empty();
                    missed |= !met;
                    rows.push(row(scenario, &outcome, backend, met));
                }
                Err(_panic) => {
                    missed = true;
                    eprintln!("error: {} with {} did not end", scenario.fault, backend.name());
                    rows.push(format!(
                        "| {} | {} | | | | | | | did not end |",
                        scenario.name,
                        backend.name()
                    ));
                }
            }
        }
    }
    println!("| scenario | registry | calls | failed | avoided | seconds | registered anew | ran twice | |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        println!("{row}");
    }
    if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn chosen(faults: &[String]) -> Result<Vec<&'static Scenario>, String> {
    if faults.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let mut chosen = Vec::new();
    for fault in faults {
        let before = chosen.len();
        chosen.extend(
            ALL.iter()
                .filter(|scenario| scenario.name == fault || scenario.fault.eq_ignore_ascii_case(fault)),
        );
        if chosen.len() == before {
            return Err(fault.clone());
        }
    }
    Ok(chosen)
}

fn names() -> String {
    let mut names: Vec<_> = ALL.iter().map(|scenario| scenario.fault).collect();
    names.dedup();
    names.join(", ")
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| format!("{:.2}", time.as_secs_f64()))
}

fn row(scenario: &Scenario, outcome: &Outcome, backend: Backend, met: bool) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        scenario.name,
        backend.name(),
        outcome.calls,
        outcome.failed,
        seconds(outcome.avoided),
        seconds(outcome.seconds),
        outcome
            .registrations
            .map_or_else(String::new, |count| count.to_string()),
        outcome.duplicates,
        if met { "met" } else { "missed" },
    )
}

/// The service stands beside this program.
fn probe() -> std::path::PathBuf {
    let program = env::current_exe().expect("this program has a path");
    let probe = program.with_file_name("micro-probe");
    assert!(
        probe.is_file(),
        "{} is not there: run this by `cargo xtask chaos`",
        probe.display()
    );
    probe
}
