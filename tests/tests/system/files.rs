//! A server that may open no more files: who is connected is served, and who comes is told at once.

use std::{
    fs,
    io::Read,
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{Network, PATIENCE, Process, eventually, hello, reached};

/// So few that a hundred connections are too many.
const FILES: usize = 48;

/// Longer than the longest pause of the accept loop, and ten times what it takes to be served again.
const WATCHED: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_files_serves_who_is_there_turns_others_away_and_recovers() {
    let network = Network::new();
    let greeter = network.command("greeter");
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("ulimit -n {FILES} && exec \"$0\""))
        .arg(greeter.get_program())
        .current_dir(greeter.get_current_dir().unwrap());
    for (name, value) in greeter.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let server = Process::start(&mut limited);
    let client = network.client();
    let channel = client.channel("greeter");
    reached(&channel, 1).await;
    let address = hello(&channel).await.unwrap().address().to_string();

    let mut connections: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();
    server.wait_for("it says that it has no files", |line| {
        line.contains("no new connections for now")
    });
    let (before, since) = (cpu(server.pid()), Instant::now());
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while since.elapsed() < WATCHED {
        ticks.tick().await;
        hello(&channel).await.expect("who is connected is served");
        connections.push(TcpStream::connect(&address).unwrap());
    }
    let used = cpu(server.pid()) - before;
    assert!(
        used.as_secs_f64() < 0.5 * since.elapsed().as_secs_f64(),
        "{used:?} of processor time in {:?}",
        since.elapsed()
    );

    // Those who came too late do not wait for what will not come.
    let mut last = connections.pop().unwrap();
    last.set_read_timeout(Some(PATIENCE)).unwrap();
    // Closed or reset.
    if let Ok(read) = last.read(&mut [0]) {
        assert_eq!(read, 0);
    }

    drop((last, connections));
    let freed = Instant::now();
    let other = network.client();
    eventually("a new connection is served", async || {
        hello(&other.channel("greeter")).await.is_ok()
    })
    .await;
    assert!(freed.elapsed() < 2 * WATCHED, "{:?}", freed.elapsed());
}

/// The processor time that a process has used.
fn cpu(pid: i32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // After the name, which may have spaces: the 12th and the 13th value, in hundredths of a second.
    let (_, values) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = values
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|value| value.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(10 * ticks)
}
