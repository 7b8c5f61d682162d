//! How many instructions one unary call costs its client, and its server, as callgrind counts them: a figure that no
//! noise moves.

use std::{
    env,
    process::{Command, Output, Stdio},
};

use super::{Running, client::Kind, name};
use crate::{Result, gateway};

/// The difference between the two is what is counted: what starting and connecting cost is in both.
const CALLS: [u32; 2] = [500, 2_500];

const ADVICE: &str =
    "start valgrind, which counts the instructions: install it (Debian has it as `valgrind`)";

/// Counts for a bare channel and for ours, each against tonic's server in another process, for tonic's server and ours,
/// each called by a bare channel, and for the gateway; prints the ratios.
pub(crate) fn run() -> Result<()> {
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
    drop(server);
    let [tonic, micro] = ["tonic", "micro"].map(instructions_of_a_server);
    let (tonic, micro) = (tonic?, micro?);
    println!("instructions of the server a unary call of a bare channel, on a current-thread runtime");
    println!("tonic {tonic:>10.0}");
    println!("micro {micro:>10.0}   {:.3} of tonic", micro / tonic);
    let gateway = instructions_of_the_gateway()?;
    println!("instructions of the gateway a request for such a call, on a current-thread runtime");
    println!("micro {gateway:>10.0}");
    Ok(())
}

/// The difference that calls make, for each of them.
fn a_call(count: impl Fn(u32) -> Result<f64>) -> Result<f64> {
    let [few, many] = CALLS;
    Ok((count(many)? - count(few)?) / f64::from(many - few))
}

fn instructions_of_a_server(kind: &str) -> Result<f64> {
    a_call(|calls| {
        let mut command = counting()?;
        let server = Running::start_as(command.args(["serve", kind, "--one-thread"]))?;
        let client = Command::new(env::current_exe()?)
            .args(counted(Kind::Raw, calls, &server))
            .stdin(Stdio::null())
            .output()?;
        if !client.status.success() {
            return Err(format!("the client ended with {}", client.status).into());
        }
        collected(&server.end()?)
    })
}

fn instructions_of_the_gateway() -> Result<f64> {
    let server = Running::start("micro")?;
    let address = server.address.to_string();
    a_call(|requests| {
        let mut command = counting()?;
        let gateway = Running::start_as(command.args(["serve-gateway", &address, "--one-thread"]))?;
        gateway::send(gateway.address, requests)?;
        collected(&gateway.end()?)
    })
}

fn instructions_a_call(kind: Kind, server: &Running) -> Result<f64> {
    a_call(|calls| {
        let output = counting()?
            .args(counted(kind, calls, server))
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{ADVICE}: {error}"))?;
        collected(&output)
    })
}

/// This program, with its instructions counted.
fn counting() -> Result<Command> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(env::current_exe()?)
        .stderr(Stdio::piped());
    Ok(command)
}

/// What a client is told that makes so many calls.
fn counted(kind: Kind, calls: u32, server: &Running) -> [String; 7] {
    let (calls, address) = (calls.to_string(), server.address.to_string());
    let [command, one, two, three] = ["counted", "--kind", "--calls", "--servers"].map(str::to_owned);
    [command, one, name(&kind), two, calls, three, address]
}

/// How many instructions there were.
fn collected(output: &Output) -> Result<f64> {
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = said.lines().find_map(|line| line.split_once("Collected :"));
    let counted = counted.and_then(|(_, number)| number.trim().parse().ok());
    counted
        .filter(|_| output.status.success())
        .ok_or_else(|| format!("valgrind ended with {}: {said}", output.status).into())
}
