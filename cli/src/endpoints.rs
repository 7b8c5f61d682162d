//! `micro endpoints`: how each node of a service looks to a client: whether it is reached, how loaded it is, and what went wrong.

use std::{collections::HashMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use micro::{CallOptions, Channel, Client, EndpointState, EndpointStatus, registry::Node};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    arguments::ServiceArguments,
    failure::{Failure, Result},
    lookup::Lookup,
    node_load::{self, NodeLoad},
    output::{print, print_json, table},
    progress::waiting,
};

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
Columns:
  STATE       whether this command's own client, which was made just now, has a connection
  LATENCY     how long the node took to answer a health check; - if it did not
  CALLS       the calls that it has of all its clients, and how many it takes at a time, as its page
              /metrics says; - if it has none
  LAST ERROR  what went wrong last between this client and the node

Examples:
  micro endpoints greeter
  micro endpoints greeter --json

Exit codes: 0 when all nodes that are wanted are ready, 1 when some are not, 78 when there is no node.";

/// How long connections may take to be made or to fail: longer than one connect, which has 1 s unless settings say otherwise.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often they are looked at until then.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// How long a node may take to answer the one call that is made to it.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);
/// How many nodes are asked at a time.
const CONCURRENCY: usize = 32;

/// A node as it looks to this client, and what it tells itself.
struct Seen {
    endpoint: EndpointStatus,
    /// How long it took to answer a call; `None` where it did not.
    latency: Option<Duration>,
    load: Option<NodeLoad>,
}

/// Shows each node as a client sees it; fails if one that is wanted takes no calls.
pub(crate) async fn endpoints(lookup: &Lookup, arguments: &ServiceArguments) -> Result<()> {
    let service = &arguments.service;
    // Says where it looked, and what there is, when there is nobody.
    lookup.nodes(service).await?;
    let words = || format!("waiting for connections to `{service}`");
    let channel = lookup.channel(service);
    let seen = waiting(words, look(lookup.client(), &channel)).await?;
    if arguments.json {
        print_json(&seen.iter().map(Seen::to_json).collect::<Value>())?;
    } else {
        let header = [
            "NODE",
            "VERSION",
            "ADDRESS",
            "STATE",
            "CONNECTIONS",
            "LATENCY",
            "CALLS",
            "LAST ERROR",
        ]
        .map(str::to_owned)
        .to_vec();
        let rows: Vec<_> = [header]
            .into_iter()
            .chain(seen.iter().map(Seen::to_row))
            .collect();
        table(&rows).iter().try_for_each(|line| print(line))?;
    }
    let ill = seen.iter().filter(|seen| !is_well(&seen.endpoint)).count();
    match ill {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{ill} of {} nodes of `{service}` not ready",
            seen.len()
        ))),
    }
}

/// All that can be seen: the nodes that take calls get one each, and are asked for their load.
async fn look(client: &Client, channel: &Channel) -> Result<Vec<Seen>> {
    let settled = settled(channel).await?;
    let asked = settled.iter().map(|endpoint| async move {
        let node = &endpoint.node;
        if endpoint.state != EndpointState::Ready {
            return (node.id(), (None, None));
        }
        let (latency, load) = tokio::join!(latency(channel, node), node_load::ask(client, node));
        (node.id(), (latency, load))
    });
    let asked: HashMap<_, _> = stream::iter(asked).buffer_unordered(CONCURRENCY).collect().await;
    // As it is now, with what those calls have found.
    let endpoints = channel.endpoints().await?;
    let seen = endpoints.into_iter().map(|endpoint| {
        let (latency, load) = asked.get(endpoint.node.id()).copied().unwrap_or_default();
        Seen {
            endpoint,
            latency,
            load,
        }
    });
    Ok(seen.collect())
}

/// How long a node takes to answer whether it is healthy, or that it does not know; `None` when it does not answer.
async fn latency(channel: &Channel, node: &Node) -> Option<Duration> {
    let mut request = Request::new(HealthCheckRequest {
        service: String::new(),
    });
    let options = CallOptions::new().node(node.id()).timeout(CHECK_TIMEOUT);
    request.extensions_mut().insert(options);
    let started = Instant::now();
    let answer = HealthClient::new(channel.clone()).check(request).await;
    let latency = started.elapsed();
    match answer {
        Ok(_) => Some(latency),
        Err(status) if status.code() == Code::Unimplemented => Some(latency),
        Err(_) => None,
    }
}

/// What is known once each node has been reached, or has failed to be, or the time is over.
async fn settled(channel: &Channel) -> Result<Vec<EndpointStatus>> {
    let started = Instant::now();
    loop {
        let endpoints = channel.endpoints().await?;
        if !endpoints.iter().any(is_open) || started.elapsed() >= SETTLE_TIMEOUT {
            return Ok(endpoints);
        }
        sleep(LOOK_INTERVAL).await;
    }
}

/// Whether nothing is known yet of how it is.
fn is_open(endpoint: &EndpointStatus) -> bool {
    endpoint.state == EndpointState::Connecting && endpoint.last_error.is_none()
}

/// Whether it takes calls, or is one too many for this client to be connected to.
fn is_well(endpoint: &EndpointStatus) -> bool {
    matches!(endpoint.state, EndpointState::Ready | EndpointState::Idle)
}

impl Seen {
    fn to_row(&self) -> Vec<String> {
        let Self {
            endpoint,
            latency,
            load,
        } = self;
        let node = &endpoint.node;
        let latency = latency.map(|latency| format!("{:.1}ms", milliseconds(latency)));
        let load = load.map(|load| format!("{}/{}", load.active, load.limit));
        let unknown = || "-".to_owned();
        vec![
            node.id().to_owned(),
            node.version().to_owned(),
            node.address().to_string(),
            state(endpoint),
            endpoint.connections.to_string(),
            latency.unwrap_or_else(unknown),
            load.unwrap_or_else(unknown),
            last_error(endpoint),
        ]
    }

    fn to_json(&self) -> Value {
        let endpoint = &self.endpoint;
        let node = &endpoint.node;
        let mut shown = json!({
            "node": node.id(),
            "version": node.version(),
            "address": node.address().to_string(),
            "state": endpoint.state.name(),
            "held": endpoint.held,
            "connections": endpoint.connections,
            "ejectedForMs": milliseconds(endpoint.ejected_for),
        });
        if let Some(latency) = self.latency {
            shown["latencyMs"] = milliseconds(latency).into();
        }
        if let Some(load) = self.load {
            shown["calls"] = load.active.into();
            shown["callsLimit"] = load.limit.into();
        }
        if let Some(error) = &endpoint.last_error {
            shown["lastError"] = (**error).into();
            shown["lastErrorAgeMs"] = milliseconds(endpoint.last_error_age).into();
        }
        shown
    }
}

/// The state, with what holds besides.
fn state(endpoint: &EndpointStatus) -> String {
    let mut state = endpoint.state.name().to_owned();
    if !endpoint.ejected_for.is_zero() {
        state.push_str(&format!(" for {}s", endpoint.ejected_for.as_secs() + 1));
    }
    if endpoint.held {
        state.push_str(", held");
    }
    state
}

/// What went wrong last, and when, unless that was just now.
fn last_error(endpoint: &EndpointStatus) -> String {
    let error = endpoint.last_error.as_deref().unwrap_or_default();
    match endpoint.last_error_age.as_secs() {
        0 => error.to_owned(),
        seconds => format!("{error} ({seconds}s ago)"),
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
