//! The same work done by the bare libraries: blocking queries by reqwest, a watch by etcd-client, and all that is told of a
//! node decoded and kept. Without names checked, bad records told from good ones, rights, outages, failover, lists now and
//! then, or anything else that is not the work itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use etcd_client::{EventType, GetOptions, KeyValue, WatchOptions};
use tokio::{sync::Semaphore, task::JoinSet, time};

use super::{
    Backend, FIRST, PREFIX,
    record::{Entry, Node, Record, Unpacker},
    seen::Seen,
};
use crate::Result;

/// The rest between two blocking queries, as our client has it: without one it would do nothing but list.
const REST: Duration = Duration::from_millis(50);
/// How many services are followed by blocking queries, as our client does it: an agent takes 200 connections from one
/// address.
const BLOCKING_MAX: usize = 64;
/// How often the others are polled, as our client does it, and how many at once.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
const POLLS_MAX: usize = 64;
/// How many records etcd is asked for at a time.
const PAGE: i64 = 1000;

/// The names of all services.
pub(super) async fn services(backend: Backend, address: &str) -> Result<usize> {
    match backend {
        Backend::Consul => {
            let url = format!("http://{address}/v1/catalog/services?stale");
            let body = super::http()?.get(url).send().await?.bytes().await?;
            let names: HashMap<String, Vec<String>> = serde_json::from_slice(&body)?;
            Ok(names.len())
        }
        Backend::Etcd => {
            let mut client = etcd_client::Client::connect([address], None).await?;
            let options = GetOptions::new().with_prefix().with_keys_only();
            let listed = client.get(PREFIX, Some(options)).await?;
            let name = |key: &[u8]| {
                key[PREFIX.len()..]
                    .split(|byte| *byte == b'/')
                    .next()
                    .map(<[u8]>::to_vec)
            };
            let names: std::collections::HashSet<_> =
                listed.kvs().iter().filter_map(|pair| name(pair.key())).collect();
            Ok(names.len())
        }
    }
}

/// Follows the services until the first error.
pub(super) async fn follow(
    backend: Backend,
    address: String,
    services: Vec<String>,
    seen: Seen,
) -> Result<()> {
    let mut following = JoinSet::new();
    match backend {
        Backend::Consul => {
            let client = super::http()?;
            let polls = Arc::new(Semaphore::new(POLLS_MAX));
            for (at, service) in services.into_iter().enumerate() {
                let url = format!("http://{address}/v1/health/service/{service}?stale&passing=1");
                let (client, seen) = (client.clone(), seen.clone());
                if at < BLOCKING_MAX {
                    following.spawn(block(client, url, at, seen));
                } else {
                    following.spawn(poll(client, url, Arc::clone(&polls), at, seen));
                }
            }
        }
        Backend::Etcd => {
            let client = etcd_client::Client::connect([address], None).await?;
            for (at, service) in services.into_iter().enumerate() {
                following.spawn(watch(
                    client.clone(),
                    format!("{PREFIX}{service}/"),
                    at,
                    seen.clone(),
                ));
            }
        }
    }
    while let Some(ended) = following.join_next().await {
        ended??;
    }
    Ok(())
}

async fn block(client: reqwest::Client, url: String, at: usize, seen: Seen) -> Result<()> {
    let mut listed = list(&client, &url).await?;
    loop {
        listed.tell(at, &seen);
        time::sleep(REST).await;
        listed = list(&client, &format!("{url}&index={}&wait=30s", listed.index)).await?;
    }
}

async fn poll(
    client: reqwest::Client,
    url: String,
    polls: Arc<Semaphore>,
    at: usize,
    seen: Seen,
) -> Result<()> {
    loop {
        let permit = polls.acquire().await?;
        let listed = list(&client, &url).await?;
        drop(permit);
        listed.tell(at, &seen);
        time::sleep(POLL_INTERVAL).await;
    }
}

/// The nodes of a service in Consul, kept until the next list is there.
struct Listed {
    index: String,
    nodes: HashMap<String, Node>,
}

impl Listed {
    fn tell(&self, at: usize, seen: &Seen) {
        // Consul's ids have the service before the node.
        let first = self.nodes.iter().find(|(id, _)| id.ends_with(FIRST));
        seen.update(at, self.nodes.len(), first.map(|(_, node)| node.port()));
    }
}

async fn list(client: &reqwest::Client, url: &str) -> Result<Listed> {
    let answer = client.get(url).send().await?.error_for_status()?;
    let index = answer
        .headers()
        .get("x-consul-index")
        .ok_or("Consul says no index")?;
    let index = index.to_str()?.to_owned();
    let body = answer.bytes().await?;
    let entries: Vec<Entry<'_>> = serde_json::from_slice(&body)?;
    let mut unpacker = Unpacker::new();
    let nodes = entries
        .into_iter()
        .map(|entry| entry.node(&mut unpacker))
        .collect::<Result<_>>()?;

    Ok(Listed { index, nodes })
}

async fn watch(mut client: etcd_client::Client, prefix: String, at: usize, seen: Seen) -> Result<()> {
    let (mut nodes, mut revision) = (HashMap::new(), 0);
    // The first key after all that begin with the prefix, whose last byte is a slash.
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let mut from = prefix.clone().into_bytes();
    // In pages: an answer may not have more than 4 MiB.
    loop {
        let page = GetOptions::new()
            .with_range(end.as_str())
            .with_limit(PAGE)
            .with_revision(revision);
        let listed = client.get(from.clone(), Some(page)).await?;
        if revision == 0 {
            revision = listed.header().ok_or("etcd says no revision")?.revision();
        }
        for pair in listed.kvs() {
            nodes.insert(pair.key().to_vec(), decoded(pair)?);
        }
        match listed.kvs().last() {
            Some(last) if listed.more() => from = [last.key(), &[0]].concat(),
            _ => break,
        }
    }
    let first = format!("{prefix}{FIRST}").into_bytes();
    let tell =
        |nodes: &HashMap<Vec<u8>, Node>| seen.update(at, nodes.len(), nodes.get(&first).map(Node::port));
    tell(&nodes);
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(revision + 1);
    let mut changes = client.watch(prefix, Some(options)).await?;
    while let Some(change) = changes.message().await? {
        for event in change.events() {
            let Some(pair) = event.kv() else { continue };
            match event.event_type() {
                EventType::Put => {
                    nodes.insert(pair.key().to_vec(), decoded(pair)?);
                }
                EventType::Delete => {
                    nodes.remove(pair.key());
                }
            }
        }
        tell(&nodes);
    }
    Err("the watch ended".into())
}

fn decoded(pair: &KeyValue) -> Result<Node> {
    serde_json::from_slice::<Record<'_>>(pair.value())?.node()
}
