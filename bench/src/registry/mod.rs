//! Discovery at scale: 10,000 nodes in one service, 1,000 services, and a storm of changes, on real Consul and real etcd, by
//! micro and by a plain client of the same registry at the same time.
//!
//! The same work is: to list each service and to follow it, by blocking queries as many at a time or by one watch each, to
//! decode what each record tells of its node (address, version, metadata, methods), and to hold the nodes by their ids. The
//! plain client does that with the bare libraries, and nothing else. The watcher is ours, the registry's handle as any
//! program uses it, and is what is compared. The client is a whole one of ours: it does that, and all that comes before a
//! connection: it keeps an endpoint for each node, chooses whom to connect to, and begins to connect. Its connector is one in
//! memory that never answers, so that nobody has to serve 10,000 nodes; a plain client has nothing to compare it to.

pub(crate) mod contestant;
mod ours;
mod plain;
mod record;
mod seen;
mod store;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use clap::{Args, ValueEnum};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use tokio::time::{self, MissedTickBehavior};

use self::{
    contestant::{Kind, Running, Used},
    store::{BATCH, Change, Store},
};
use crate::Result;

/// The id of the first node of each service.
const FIRST: &str = "node-00000";
/// Where etcd's records stand.
const PREFIX: &str = "/micro/registry/";
/// A port that only the last change of a storm brings.
const LAST_PORT: u16 = 60000;
/// How often each contestant starts, lists everything and ends, in turn with the others: what one list costs is a matter of
/// what else the machine does in that tenth of a second.
const LIST_ROUNDS: usize = 5;
/// How often the names of all services are listed.
const LISTS: usize = 9;

/// How discovery is measured.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Only this registry
    #[arg(long, value_delimiter = ',')]
    registry: Vec<Backend>,
    /// How long the storm of changes blows
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How many changes a second the storm has, if the registry takes as many
    #[arg(long, default_value_t = 1000)]
    changes: u64,
    /// How many nodes the one large service has
    #[arg(long, default_value_t = 10_000)]
    nodes: usize,
    /// How many services there are of one node each
    #[arg(long, default_value_t = 1_000)]
    services: usize,
}

/// A registry's server.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Backend {
    Consul,
    Etcd,
}

/// Measures all, and prints each registry's figures as they are known.
pub(crate) fn run(settings: &Settings) -> Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let backends = if settings.registry.is_empty() {
        Backend::value_variants()
    } else {
        &settings.registry
    };
    for backend in backends {
        let large = Scene {
            services: vec!["bench-large".to_owned()],
            nodes: settings.nodes,
        };
        let many = Scene {
            services: (0..settings.services)
                .map(|at| format!("bench-{at:04}"))
                .collect(),
            nodes: 1,
        };
        for scene in [large, many] {
            runtime.block_on(scene.run(*backend, settings))?;
        }
    }
    Ok(())
}

/// What is in the registry.
struct Scene {
    services: Vec<String>,
    nodes: usize,
}

impl Scene {
    async fn run(&self, backend: Backend, settings: &Settings) -> Result<()> {
        let mut store = Store::start(backend).await?;
        let begun = Instant::now();
        store.fill(&self.services, self.nodes).await?;
        let (services, nodes) = (self.services.len(), self.nodes);
        println!(
            "\n{backend:?}, {services} service(s) of {nodes} node(s), written in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        if services > 1 {
            list_services(backend, &store.address(), services).await?;
        }
        // All at once, so that they see the same storm on the same machine. An agent of Consul's takes 200 connections
        // from one address, which is too few for three who follow many services.
        let all = [Kind::Plain, Kind::Watch, Kind::Client];
        let groups: Vec<&[Kind]> = if services > 1 {
            all.chunks(1).collect()
        } else {
            vec![&all]
        };
        let mut rows = Vec::new();
        for (kinds, last_port) in groups.into_iter().zip(LAST_PORT..) {
            let measured = self.measure(backend, &mut store, kinds, last_port, settings);
            rows.extend(measured.await?);
            store.release(&self.services).await?;
        }
        let lists = self.list(backend, &mut store, &all).await?;
        report(&rows, &lists);
        Ok(())
    }

    /// The median of what each contestant's process uses to start and to list everything.
    async fn list(&self, backend: Backend, store: &mut Store, kinds: &[Kind]) -> Result<Vec<Duration>> {
        let mut used = vec![Vec::new(); kinds.len()];
        for _ in 0..LIST_ROUNDS {
            for (kind, used) in kinds.iter().zip(&mut used) {
                let mut running = Running::start(backend, &store.address(), *kind, self)?;
                running.until_listed()?;
                used.push(running.usage()?.cpu);
                drop(running);
                store.release(&self.services).await?;
            }
        }
        Ok(used.into_iter().map(median).collect())
    }

    /// Lets these contestants follow at the same time, through a storm.
    async fn measure(
        &self,
        backend: Backend,
        store: &mut Store,
        kinds: &[Kind],
        last_port: u16,
        settings: &Settings,
    ) -> Result<Vec<Row>> {
        let address = store.address();
        let starting = kinds
            .iter()
            .map(|kind| Running::start(backend, &address, *kind, self));
        let mut running = starting.collect::<Result<Vec<_>>>()?;
        running.iter_mut().try_for_each(Running::until_listed)?;
        let before: Vec<_> = running.iter_mut().map(Running::usage).collect::<Result<_>>()?;
        let (blown, changes) = self.storm(store, settings).await?;
        let during: Vec<_> = running.iter_mut().map(Running::usage).collect::<Result<_>>()?;
        println!(
            "  a storm of {:.0} changes a second (asked for: {}) for {:.0} s",
            changes as f64 / blown.as_secs_f64(),
            settings.changes,
            blown.as_secs_f64(),
        );
        let last = Change {
            port: last_port,
            ..Change::first(&self.services[0], 0)
        };
        running
            .iter_mut()
            .try_for_each(|contestant| contestant.look_for_port(last_port))?;
        let writing = SystemTime::now();
        store.write(&[last]).await?;
        let mut rows = Vec::new();
        for ((mut contestant, before), during) in running.into_iter().zip(before).zip(during) {
            rows.push(Row {
                name: contestant.name(),
                listed: contestant.listed,
                before,
                during,
                lag: contestant.saw_port()?.duration_since(writing).unwrap_or_default(),
            });
        }
        Ok(rows)
    }

    /// Changes one node after the other, and says for how long and how many. A registry that takes fewer sets the pace.
    async fn storm(&self, store: &mut Store, settings: &Settings) -> Result<(Duration, usize)> {
        let all = self.services.len() * self.nodes;
        let mut interval = time::interval(Duration::from_secs_f64(BATCH as f64 / settings.changes as f64));
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let (begun, mut changes) = (Instant::now(), 0);
        while begun.elapsed() < Duration::from_secs(settings.seconds) {
            interval.tick().await;
            let batch = (changes..changes + BATCH).map(|change| {
                // A step that meets all nodes in the end, and another port each time.
                let at = change * 7919 % all;
                let round = u16::try_from(1 + change / all % 9).unwrap_or(1);
                Change {
                    port: 20000 + round,
                    ..Change::first(&self.services[at / self.nodes], at % self.nodes)
                }
            });
            store.write(&batch.collect::<Vec<_>>()).await?;
            changes += BATCH;
        }
        Ok((begun.elapsed(), changes))
    }
}

/// What a contestant has used.
struct Row {
    name: &'static str,
    listed: Duration,
    before: Used,
    during: Used,
    lag: Duration,
}

/// Prints the contestants' figures, and those of ours as ratios to the plain one's, which comes first.
fn report(rows: &[Row], lists: &[Duration]) {
    println!(
        "  {:>10} {:>10} {:>12} {:>12} {:>12} {:>12} {:>10} {:>10}",
        "", "listed ms", "CPU list ms", "CPU storm s", "memory MiB", "peak MiB", "updates", "lag ms"
    );
    let storm = |row: &Row| (row.during.cpu - row.before.cpu).as_secs_f64();
    for (row, list) in rows.iter().zip(lists) {
        println!(
            "  {:>10} {:>10.0} {:>12.0} {:>12.2} {:>12.1} {:>12.1} {:>10} {:>10.0}",
            row.name,
            row.listed.as_secs_f64() * 1e3,
            list.as_secs_f64() * 1e3,
            storm(row),
            mib(row.during.memory),
            mib(row.during.peak),
            row.during.updates - row.before.updates,
            row.lag.as_secs_f64() * 1e3,
        );
    }
    let (Some((plain, ours)), Some((plain_list, lists))) = (rows.split_first(), lists.split_first()) else {
        return;
    };
    for (row, list) in ours.iter().zip(lists) {
        println!(
            "  {} to plain: CPU of the list {:.2}, CPU of the storm {:.2}, memory {:.2}, peak {:.2}",
            row.name,
            list.as_secs_f64() / plain_list.as_secs_f64(),
            storm(row) / storm(plain),
            row.during.memory as f64 / plain.during.memory as f64,
            row.during.peak as f64 / plain.during.peak as f64,
        );
    }
}

/// Lists the names of all services by both, in turn.
async fn list_services(backend: Backend, address: &str, expected: usize) -> Result<()> {
    let registry = ours::open(backend, address)?;
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..LISTS {
        let begun = Instant::now();
        let listed = registry.list_services().await?.len();
        ours.push(begun.elapsed());
        if listed < expected {
            return Err(format!("{listed} of {expected} services were listed").into());
        }
        let begun = Instant::now();
        plain::services(backend, address).await?;
        plain.push(begun.elapsed());
    }
    let [ours, plain] = [ours, plain].map(|times| median(times).as_secs_f64() * 1e3);
    println!(
        "  listing the names: ours {ours:.1} ms, plain {plain:.1} ms, ratio {:.2}",
        ours / plain
    );
    Ok(())
}

/// A client of HTTP without TLS; reqwest wants to know how TLS would be done all the same.
fn http() -> Result<reqwest::Client> {
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()?)
}

/// Of an odd number of them.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
