//! A storm of changes in a service of 10,000 nodes, and the picks meanwhile (F23).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use micro::Channel;
use tokio::time::{self, MissedTickBehavior};

use super::{Bench, feed::Feed, millis};
use crate::{Result, usage};

const NODES: usize = 10_000;
/// How many nodes the client connects to: its default.
const SUBSET: usize = 64;
/// The time between two changes: 1,000 a second.
const CHANGE_INTERVAL: Duration = Duration::from_millis(1);
/// How long picks are counted at a time, in a storm and out of it in turn, so that what else the machine does meets both.
const TURN: Duration = Duration::from_secs(3);
/// What an end of the storm looks like.
const LAST: usize = 1_000_000_000;

/// What picks do in some time.
struct Picked {
    each_second: f64,
    latencies: Histogram<u64>,
}

pub(super) async fn run(storm: Duration) -> Result<()> {
    let bench = Bench::start(NODES, SUBSET).await?;
    let (mut calm, mut stormy) = (Vec::new(), Vec::new());
    let memory_before = usage::own_memory()?;
    let (mut blown, mut changes, mut cpu) = (Duration::ZERO, 0, Duration::ZERO);
    while blown < storm {
        calm.push(pick_for(&bench.channel, TURN).await?);
        let (begun, cpu_before) = (Instant::now(), usage::own_cpu()?);
        let blowing = blow(Arc::clone(&bench.feed), TURN);
        let (picked, made) = tokio::join!(pick_for(&bench.channel, TURN), blowing);
        stormy.push(picked?);
        changes += made;
        blown += begun.elapsed();
        cpu += usage::own_cpu()?.saturating_sub(cpu_before);
    }
    let memory_after = usage::own_memory()?;
    let lag = lag(&bench).await?;
    println!(
        "a storm of {:.0} changes a second among {NODES} nodes for {:.0} s, {SUBSET} of them connected, in turns of {TURN:?}:",
        f64::from(changes) / blown.as_secs_f64(),
        blown.as_secs_f64(),
    );
    let [calm_rate, stormy_rate] = [&calm, &stormy].map(|turns| median(turns));
    println!(
        "  picks a second, one thread: {calm_rate:.0} before, {stormy_rate:.0} in it, ratio {:.3}",
        stormy_rate / calm_rate
    );
    for (name, turns) in [("before", &calm), ("in it", &stormy)] {
        let mut all = Histogram::<u64>::new(3)?;
        for turn in turns {
            all.add(&turn.latencies)?;
        }
        println!(
            "  a pick {name}, with the clock read for it: p50 {} ns, p99 {} ns, p99.9 {} ns",
            all.value_at_quantile(0.5),
            all.value_at_quantile(0.99),
            all.value_at_quantile(0.999),
        );
    }
    println!(
        "  processor time of everything but the picking thread, registry and changes included: {:.2} of a core",
        (cpu.as_secs_f64() - blown.as_secs_f64()).max(0.0) / blown.as_secs_f64(),
    );
    println!(
        "  memory: {} KiB before, {} KiB after",
        memory_before / 1024,
        memory_after / 1024
    );
    println!("  the last change was known after {:.0} ms", millis(lag));
    Ok(())
}

/// Changes one node after the other for so long, and says how many.
async fn blow(feed: Arc<Feed>, turn: Duration) -> u32 {
    let task = tokio::spawn(async move {
        let mut interval = time::interval(CHANGE_INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (begun, mut changes) = (Instant::now(), 0);
        while begun.elapsed() < turn {
            interval.tick().await;
            changes += 1;
            // A step that meets all nodes in the end.
            feed.change((changes as usize * 7919) % NODES, changes as usize);
        }
        changes
    });
    task.await.unwrap_or_default()
}

/// Picks without a rest, on a thread of its own.
async fn pick_for(channel: &Channel, turn: Duration) -> Result<Picked> {
    let (channel, over) = (channel.clone(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&over);
    let picking = thread::spawn(move || -> Result<Picked> {
        let mut latencies = Histogram::<u64>::new(3)?;
        let begun = Instant::now();
        let mut last = begun;
        while !stop.load(Ordering::Relaxed) {
            if !channel.__pick() {
                return Err("a pick found no node".into());
            }
            let now = Instant::now();
            latencies.record(u64::try_from(now.duration_since(last).as_nanos())?)?;
            last = now;
        }
        Ok(Picked {
            each_second: latencies.len() as f64 / begun.elapsed().as_secs_f64(),
            latencies,
        })
    });
    time::sleep(turn).await;
    over.store(true, Ordering::Relaxed);
    let joined = tokio::task::spawn_blocking(move || picking.join()).await?;
    joined.map_err(|_panic| "the picking thread panicked")?
}

/// How long after it was made the last change is known.
async fn lag(bench: &Bench) -> Result<Duration> {
    let begun = Instant::now();
    bench.feed.change(0, LAST);
    let last = LAST.to_string();
    while begun.elapsed() < Duration::from_secs(30) {
        let endpoints = bench.channel.endpoints().await?;
        if endpoints.iter().any(|endpoint| endpoint.node.version() == last) {
            return Ok(begun.elapsed());
        }
        time::sleep(Duration::from_millis(2)).await;
    }
    Err("the last change was not known after 30 s".into())
}

fn median(turns: &[Picked]) -> f64 {
    let mut rates: Vec<_> = turns.iter().map(|turn| turn.each_second).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
