//! The same work done by the bare libraries: blocking queries by reqwest, a watch by etcd-client. Without names checked, bad
//! records told from good ones, rights, outages, failover, or anything else that is not the work itself.

use std::{collections::HashMap, sync::Arc, time::Duration};

use etcd_client::{EventType, GetOptions, WatchOptions};
use serde::Deserialize;
use tokio::{sync::Semaphore, task::JoinSet, time};

use super::{Backend, FIRST, PREFIX, seen::Seen};
use crate::Result;

/// The rest between two blocking queries, as our client has it: without one it would do nothing but list.
const REST: Duration = Duration::from_millis(50);
/// More services than this are polled: an agent takes 200 connections from one address.
const BLOCKING_MAX: usize = 100;
/// How often, and how many at once: as our client does it.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
const POLLS_MAX: usize = 64;

/// How many records etcd is asked for at a time.
const PAGE: i64 = 1000;

/// A node as Consul lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    service: Service,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Address")]
    _address: String,
    port: u16,
    #[serde(rename = "Tags")]
    _tags: Vec<String>,
    #[serde(rename = "Meta")]
    _meta: HashMap<String, String>,
}

/// A record as etcd has it.
#[derive(Debug, Deserialize)]
struct Record {
    nodes: Vec<RecordNode>,
    #[serde(rename = "metadata")]
    _metadata: Option<HashMap<String, String>>,
    #[serde(rename = "endpoints")]
    _endpoints: Option<Vec<serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
struct RecordNode {
    #[serde(rename = "id")]
    _id: String,
    address: String,
    #[serde(rename = "metadata")]
    _metadata: Option<HashMap<String, String>>,
}

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
            let polls = (services.len() > BLOCKING_MAX).then(|| Arc::new(Semaphore::new(POLLS_MAX)));
            for (at, service) in services.into_iter().enumerate() {
                let url = format!("http://{address}/v1/health/service/{service}?stale&passing=1");
                let (client, seen) = (client.clone(), seen.clone());
                match polls.clone() {
                    Some(polls) => following.spawn(poll(client, url, polls, at, seen)),
                    None => following.spawn(block(client, url, at, seen)),
                };
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
    let mut index = String::new();
    loop {
        let url = if index.is_empty() {
            url.clone()
        } else {
            format!("{url}&index={index}&wait=30s")
        };
        index = list(&client, &url, at, &seen).await?;
        time::sleep(REST).await;
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
        list(&client, &url, at, &seen).await?;
        drop(permit);
        time::sleep(POLL_INTERVAL).await;
    }
}

async fn list(client: &reqwest::Client, url: &str, at: usize, seen: &Seen) -> Result<String> {
    let answer = client.get(url).send().await?.error_for_status()?;
    let index = answer
        .headers()
        .get("x-consul-index")
        .ok_or("Consul says no index")?;
    let index = index.to_str()?.to_owned();
    let entries: Vec<Entry> = serde_json::from_slice(&answer.bytes().await?)?;
    let nodes: HashMap<String, Service> = entries
        .into_iter()
        .map(|entry| (entry.service.id.clone(), entry.service))
        .collect();
    // Consul's ids have the service before the node.
    let first = nodes.values().find(|node| node.id.ends_with(FIRST));
    seen.update(at, nodes.len(), first.map(|node| node.port));
    Ok(index)
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
            nodes.insert(
                pair.key().to_vec(),
                serde_json::from_slice::<Record>(pair.value())?,
            );
        }
        match listed.kvs().last() {
            Some(last) if listed.more() => from = [last.key(), &[0]].concat(),
            _ => break,
        }
    }
    let first = format!("{prefix}{FIRST}").into_bytes();
    let tell = |nodes: &HashMap<Vec<u8>, Record>| {
        let record = nodes.get(&first).and_then(|record| record.nodes.first());
        let port = record.and_then(|node| node.address.rsplit_once(':')?.1.parse().ok());
        seen.update(at, nodes.len(), port);
    };
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
                    nodes.insert(pair.key().to_vec(), serde_json::from_slice(pair.value())?);
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
