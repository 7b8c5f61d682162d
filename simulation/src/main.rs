//! `micro-simulation`: runs scenarios from many seeds, and says which seed shows what does not hold.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use micro_simulation::{Report, SCENARIOS, Scenario, run};

/// How long a run may take to be sure to do the same again. h2 forgets a stream that was reset after a second of the host's
/// clock, the one clock that no simulation sets: only a run that stood still for so long can differ by it.
const REAL_TIME_MAX: Duration = Duration::from_secs(1);
/// How often two runs that were slower, and differ, are followed by one more.
const TRIES_MAX: usize = 3;
/// How many violations of one run are shown.
const SHOWN_MAX: usize = 5;

/// Runs clients and services over a simulated network with faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Scenarios; default: all
    scenarios: Vec<String>,
    /// How many seeds of each
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// One seed alone, with everything that happens in it
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// Runs each seed once more, and fails when something else happens then
    #[arg(long)]
    twice: bool,
    /// Lists the scenarios
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        for Scenario { name, about, .. } in SCENARIOS {
            println!("{name:<10} {about}");
        }
        return ExitCode::SUCCESS;
    }
    let scenarios = match chosen(&arguments.scenarios) {
        Ok(scenarios) => scenarios,
        Err(mistake) => {
            eprintln!("error: {mistake}");
            return ExitCode::FAILURE;
        }
    };
    let failed = match arguments.seed {
        Some(seed) => scenarios.iter().filter(|scenario| !shown(scenario, seed)).count(),
        None => scenarios.iter().map(|scenario| many(scenario, &arguments)).sum(),
    };
    match failed {
        0 => ExitCode::SUCCESS,
        failed => {
            eprintln!("error: {failed} runs failed");
            ExitCode::FAILURE
        }
    }
}

fn chosen(names: &[String]) -> Result<Vec<Scenario>, String> {
    if names.is_empty() {
        return Ok(SCENARIOS.to_vec());
    }
    let named = |name: &String| {
        let found = SCENARIOS.iter().find(|scenario| scenario.name == name);
        found.copied().ok_or_else(|| {
            let allowed = SCENARIOS.map(|scenario| scenario.name).join(", ");
            format!("`{name}` is no scenario; allowed are {allowed}")
        })
    };
    names.iter().map(named).collect()
}

/// Runs one seed and shows all of it; says whether everything held.
fn shown(scenario: &Scenario, seed: u64) -> bool {
    let report = run(scenario, seed);
    for line in &report.trace {
        println!("{line}");
    }
    for violation in &report.violations {
        println!("{}, seed {seed}: {violation}", scenario.name);
    }
    report.violations.is_empty()
}

/// Runs the seeds, on all cores unless they are to do the same twice; says how many failed.
fn many(scenario: &Scenario, arguments: &Arguments) -> usize {
    let (next, failed) = (AtomicU64::new(arguments.first), AtomicUsize::new(0));
    let end = arguments.first + arguments.seeds;
    let sums = Mutex::new((0, 0));
    let started = Instant::now();
    // Where hosts crash, simulations beside each other in one process do something else the second time more often than
    // one after the other.
    let at_once = match thread::available_parallelism() {
        Ok(cores) if !arguments.twice => cores.get(),
        _ => 1,
    };
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let report = judged(scenario, seed, arguments.twice);
                    if !report.violations.is_empty() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        tell(scenario, seed, &report);
                    }
                    let mut sums = sums.lock().expect("no panic while the sums are locked");
                    *sums = (sums.0 + report.calls, sums.1 + report.failed);
                }
            });
        }
    });
    let (calls, lost) = *sums.lock().expect("no panic while the sums are locked");
    let failed = failed.into_inner();
    println!(
        "{:<10} {} seeds, {failed} failed: {calls} calls, of which {lost} ended with an error, in {:.1} s",
        scenario.name,
        arguments.seeds,
        started.elapsed().as_secs_f64()
    );
    failed
}

/// A run in which a panic, and one that differs from itself, is a violation.
fn judged(scenario: &Scenario, seed: u64, twice: bool) -> Report {
    let once = || {
        catch_unwind(AssertUnwindSafe(|| run(scenario, seed))).unwrap_or_else(|_panic| Report {
            violations: vec!["something panicked".to_owned()],
            trace: Vec::new(),
            fingerprint: 0,
            calls: 0,
            failed: 0,
        })
    };
    let (mut report, mut took) = timed(once);
    if twice {
        let (mut again, mut took_again) = timed(once);
        for _ in 0..TRIES_MAX {
            if again.fingerprint == report.fingerprint || took.max(took_again) < REAL_TIME_MAX {
                break;
            }
            println!("{}, seed {seed}: two slow runs differ; once more", scenario.name);
            // What one of them showed counts, whichever it was.
            again.violations.append(&mut report.violations);
            (report, took) = (again, took_again);
            (again, took_again) = timed(once);
        }
        if again.fingerprint != report.fingerprint {
            let lines = report.trace.iter().zip(&again.trace);
            let differs = lines.into_iter().find(|(one, other)| one != other);
            let what = format!("the same seed did something else: {differs:?}");
            report.violations.push(what);
        }
    }
    report
}

fn timed(run: impl Fn() -> Report) -> (Report, Duration) {
    let started = Instant::now();
    let report = run();
    (report, started.elapsed())
}

fn tell(scenario: &Scenario, seed: u64, report: &Report) {
    let name = scenario.name;
    for violation in report.violations.iter().take(SHOWN_MAX) {
        println!("{name}, seed {seed}: {violation}");
    }
    println!("again, in full: cargo xtask simulate {name} --seed {seed}");
}
