//! How many instructions one unary call costs its client, as callgrind counts them: a figure that no noise moves.

use std::{
    env,
    process::{Command, Stdio},
};

use clap::Args;

use super::{Running, client::Kind, name};
use crate::Result;

/// The difference between the two is what is counted: what starting and connecting cost is in both.
const CALLS: [u32; 2] = [500, 2_500];

const ADVICE: &str =
    "start valgrind, which counts the instructions: install it (Debian has it as `valgrind`)";

/// How the instructions are counted.
#[derive(Debug, Args)]
pub(crate) struct Settings {}

/// Counts for a bare channel and for ours, each against tonic's server in another process, and prints the ratio.
pub(crate) fn run(_settings: &Settings) -> Result<()> {
    let server = Running::start("tonic")?;
    let raw = instructions_a_call(Kind::Raw, &server)?;
    let micro = instructions_a_call(Kind::Micro, &server)?;
    let recording = instructions_a_call(Kind::Recording, &server)?;
    println!("instructions of the client a unary call, on a current-thread runtime");
    println!("raw   {raw:>10.0}");
    println!("micro {micro:>10.0}   {:.3} of raw", micro / raw);
    println!(
        "      {recording:>10.0}   {:.3} of raw, recording",
        recording / raw
    );
    Ok(())
}

fn instructions_a_call(kind: Kind, server: &Running) -> Result<f64> {
    let [few, many] = CALLS;
    let difference = instructions(kind, many, server)? - instructions(kind, few, server)?;
    Ok(difference / f64::from(many - few))
}

fn instructions(kind: Kind, calls: u32, server: &Running) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .args(["counted", "--kind", &name(&kind), "--calls", &calls.to_string()])
        .args(["--servers", &server.address.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{ADVICE}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, number)| number.trim().parse().ok());
    counted
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("valgrind ended with {}: {said}", output.status).into())
}
