//! `cargo xtask test`: everything together first, then what a workspace build hides.

use std::path::PathBuf;

use crate::{
    Result, browser,
    cargo::{Step, cargo, target_folder},
    servers,
};

/// A `protoc` that is not there: whoever asks for it fails.
const NO_PROTOC: &str = "/nonexistent/protoc";

/// The package of the dashboard's tests, which drive a browser.
const DASHBOARD: &str = "micro-test-dashboard";

/// Runs every test. The programs that tests start are found here, ahead of the first step.
pub(crate) fn run() -> Result<()> {
    let mut programs = servers::provide()?;
    programs.extend(browser::provide()?);
    // The plain build of a newcomer, which needs Rust alone; whole-system tests run the programs it makes.
    cargo("build").env("PROTOC", NO_PROTOC).run()?;
    let everything = cargo("test --workspace --all-features --no-fail-fast").with_protoc()?;
    told(everything, &programs).run()?;
    cargo("test --package micro-registry --no-fail-fast").run()?;
    cargo("test --package micro-rs --no-default-features --no-fail-fast").run()?;
    // One backend alone opens, and the others say which feature brings them.
    cargo("test --package micro-rs --no-default-features --features etcd --lib backends")
        .with_protoc()?
        .run()?;
    cargo("test --package micro-rs --no-default-features --features consul --lib backends").run()?;
    command_without_a_backend()
}

/// Runs faults at their full length, with programs as they are used: a debug build takes several times the processor time,
/// and is late for that alone.
pub(crate) fn chaos(arguments: &[String]) -> Result<()> {
    let servers = servers::provide()?;
    cargo("build --release --package micro-tests --bins")
        .with_protoc()?
        .run()?;
    let program = target_folder().join("release").join("micro-chaos");
    let chaos = Step::new(
        program,
        format!("micro-chaos {}", arguments.join(" ")),
        arguments.iter().map(String::as_str),
    );
    told(chaos, &servers).run()
}

/// Makes the pictures of a terminal and of the dashboard that the documents show.
pub(crate) fn pictures() -> Result<()> {
    cargo(&format!("run --package {DASHBOARD} --bin terminal"))
        .with_protoc()?
        .run()?;
    let pictures = cargo(&format!("run --package {DASHBOARD} --bin pictures")).with_protoc()?;
    told(pictures, &browser::provide()?).run()
}

/// Tells a step which programs to start.
fn told(step: Step, programs: &[(&'static str, PathBuf)]) -> Step {
    programs
        .iter()
        .fold(step, |step, (variable, program)| step.env(variable, program))
}

/// Runs simulations, built so that the same seed does the same again: tokio's own choices can be seeded only in a build
/// of its own.
pub(crate) fn simulate(arguments: &[String]) -> Result<()> {
    let folder = target_folder().join("simulation");
    cargo("build --package micro-simulation --profile simulation")
        .env("RUSTFLAGS", "--cfg tokio_unstable")
        .env("CARGO_TARGET_DIR", &folder)
        .run()?;
    let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(["--twice"]).collect();
    Step::new(
        folder.join("simulation").join("micro-simulation"),
        format!("micro-simulation {}", arguments.join(" ")),
        arguments.iter().copied(),
    )
    .run()
}

/// Runs the models, which are among the tests, too.
pub(crate) fn loom() -> Result<()> {
    cargo("test --package micro-loom --test models").run()
}

/// Takes the help and the output of the command as they are; the difference is for a reader to judge.
pub(crate) fn snapshots() -> Result<()> {
    cargo("test --package micro-cli --test micro snapshots")
        .env("UPDATE_SNAPSHOTS", "1")
        .run()
}

/// A command built without a backend says which feature brings it.
///
/// It is built in a target folder of its own: beside the others it would have their features, and its name.
fn command_without_a_backend() -> Result<()> {
    let folder = target_folder().join("alone");
    cargo("build --package micro-cli --no-default-features")
        .env("CARGO_TARGET_DIR", &folder)
        .run()?;
    let program = folder.join("debug").join("micro");
    let (succeeded, message) = Step::new(
        program,
        "micro --registry mdns services",
        ["--registry", "mdns", "services"],
    )
    .outcome()?;
    if succeeded || !message.contains("feature") || !message.contains("mdns") {
        return Err(format!("a command without mDNS does not say how to get it: {message:?}").into());
    }
    Ok(())
}
