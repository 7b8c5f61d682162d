//! Picks: what one costs by each policy, how soon a change among many nodes reaches them, and what a storm does to them.

pub(crate) mod feed;
mod storm;

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use clap::Args;
use micro::{Balancer, CallInfo, CallOptions, Candidate, Channel, Client, EndpointState, Pick, Policy};

use self::feed::{Feed, Mute, SERVICE};
use crate::Result;

/// How the picks are measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// How long the storm of changes blows
    #[arg(long, default_value_t = 30)]
    storm_seconds: u64,
    /// Only the storm
    #[arg(long)]
    only_storm: bool,
}

/// How many nodes are picked from.
const SIZES: [usize; 4] = [1, 10, 1_000, 10_000];
/// By which policies.
const POLICIES: [&str; 5] = [
    "least_loaded",
    "round_robin",
    "random",
    "weighted",
    "consistent_hash",
];
/// How many picks a round has, and how many rounds there are: rounds are so short that few are interrupted.
const PICKS: u32 = 5_000;
const ROUNDS: usize = 301;
/// How often a change is followed on its way.
const CHANGES: usize = 21;
/// Longer than any measurement takes.
const FAR: Duration = Duration::from_secs(3600);
/// How long connecting to all nodes may take.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Measures all, and prints each figure as it is known.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        if !settings.only_storm {
            picks().await?;
            changes().await?;
        }
        storm::run(Duration::from_secs(settings.storm_seconds)).await
    })
}

/// A client of a service with so many nodes, all of them connected.
struct Bench {
    feed: Arc<Feed>,
    channel: Channel,
    _client: Client,
}

impl Bench {
    async fn start(nodes: usize, subset: usize) -> Result<Self> {
        let feed = Arc::new(Feed::new(nodes, "127.0.0.1:9090".parse()?));
        let registry = Arc::clone(&feed);
        let client = Client::builder(registry)
            .connector(Mute::default())
            .connect_timeout(READY_WITHIN)
            .request_timeout(READY_WITHIN)
            // The peers answer no pings.
            .keepalive(FAR, FAR)
            .subset(subset)
            .build()?;
        let channel = client.channel(SERVICE);
        let (begun, wanted) = (Instant::now(), nodes.min(subset));
        loop {
            let endpoints = channel.endpoints().await?;
            let ready = endpoints
                .iter()
                .filter(|endpoint| endpoint.state == EndpointState::Ready);
            if ready.count() == wanted {
                return Ok(Self {
                    feed,
                    channel,
                    _client: client,
                });
            }
            if begun.elapsed() > READY_WITHIN {
                return Err(
                    format!("not all of {wanted} nodes were connected within {READY_WITHIN:?}").into(),
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The channel under another policy, once its calls can pick.
    async fn under(&self, policy: Policy) -> Result<Channel> {
        let options = CallOptions::new().policy(policy).hash_key("user-42");
        let channel = self.channel.clone().options(options);
        channel.__place().await?;
        Ok(channel)
    }
}

async fn picks() -> Result<()> {
    println!("a pick, with its place on a connection, in ns: the median of {ROUNDS} rounds (the least)");
    print!("{:>16}", "nodes");
    SIZES.iter().for_each(|size| print!("{size:>18}"));
    println!();
    let mut table = vec![Vec::new(); POLICIES.len()];
    for size in SIZES {
        let bench = Bench::start(size, size).await?;
        for (policy, row) in POLICIES.iter().zip(&mut table) {
            let channel = bench.under(policy.parse()?).await?;
            row.push(time_picks(&channel)?);
        }
    }
    for (policy, row) in POLICIES.iter().zip(table) {
        print!("{policy:>16}");
        row.iter()
            .for_each(|[median, least]| print!("{:>18}", format!("{median:.0} ({least:.0})")));
        println!();
    }
    Ok(())
}

/// The median and the least time of a pick, in nanoseconds.
fn time_picks(channel: &Channel) -> Result<[f64; 2]> {
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..PICKS {
            if !channel.__pick() {
                return Err("a pick found no node".into());
            }
        }
        rounds.push(begun.elapsed().as_nanos() as f64 / f64::from(PICKS));
    }
    rounds.sort_by(f64::total_cmp);
    Ok([rounds[ROUNDS / 2], rounds[0]])
}

/// Tells when a node has a version that is looked for.
#[derive(Debug)]
struct Lookout {
    wanted: Arc<Mutex<String>>,
    seen: mpsc::Sender<Instant>,
}

impl Balancer for Lookout {
    fn pick_from(&mut self, nodes: &[Arc<Candidate>]) -> Box<dyn Pick> {
        let wanted = self.wanted.lock().expect("nobody panics with the version locked");
        if nodes.iter().any(|node| node.node().version() == *wanted) {
            // Fails when nobody looks any more.
            let _ = self.seen.send(Instant::now());
        }
        Box::new(|_nodes: &[Arc<Candidate>], _call: &CallInfo<'_>| 0)
    }
}

async fn changes() -> Result<()> {
    for subset in [64, 10_000] {
        let bench = Bench::start(10_000, subset).await?;
        let wanted = Arc::new(Mutex::new(String::new()));
        let (seen, changes) = mpsc::channel();
        let looked_for = Arc::clone(&wanted);
        let policy = Policy::custom("lookout", move || {
            Box::new(Lookout {
                wanted: Arc::clone(&looked_for),
                seen: seen.clone(),
            })
        });
        bench.under(policy).await?;
        let endpoints = bench.channel.endpoints().await?;
        let ready = endpoints
            .iter()
            .position(|endpoint| endpoint.state == EndpointState::Ready);
        let at = ready.ok_or("no node is ready")?;
        let mut took = Vec::new();
        for version in 1..=CHANGES {
            *wanted.lock().expect("nobody panics with the version locked") = version.to_string();
            let begun = Instant::now();
            bench.feed.change(at, version);
            let seen = changes.recv_timeout(Duration::from_secs(10))?;
            took.push(seen.duration_since(begun));
            // Changes that follow each other at once are taken in together.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        took.sort();
        println!(
            "a change among 10,000 nodes, {subset} of them connected, until the picker has it: {:.1} ms, at most {:.1} ms",
            millis(took[CHANGES / 2]),
            millis(took[CHANGES - 1]),
        );
    }
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
