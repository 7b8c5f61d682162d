//! `micro endpoints`: how each node of a service looks to a client: whether it is reached, how loaded it is, and what went wrong.

use std::time::Duration;

use micro::{Channel, EndpointState, EndpointStatus};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    arguments::ServiceArguments,
    failure::{Failure, Result},
    lookup::Lookup,
    output::{print, print_json, table},
    progress::waiting,
};

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
Examples:
  micro endpoints greeter --json

Exit codes: 0 when all nodes that are wanted are ready, 1 when some are not, 78 when there is no node.";

/// How long connections may take to be made or to fail: longer than one connect, which has 1 s unless settings say otherwise.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often they are looked at until then.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Shows each node as a client sees it; fails if one that is wanted takes no calls.
pub(crate) async fn endpoints(lookup: &Lookup, arguments: &ServiceArguments) -> Result<()> {
    let service = &arguments.service;
    // Says where it looked, and what there is, when there is nobody.
    lookup.nodes(service).await?;
    let words = || format!("waiting for connections to `{service}`");
    let endpoints = waiting(words, settled(&lookup.channel(service))).await?;
    if arguments.json {
        print_json(&endpoints.iter().map(to_json).collect::<Value>())?;
    } else {
        let header = [
            "NODE",
            "VERSION",
            "ADDRESS",
            "STATE",
            "CONNECTIONS",
            "CALLS",
            "LAST ERROR",
        ]
        .map(str::to_owned)
        .to_vec();
        let rows: Vec<_> = [header].into_iter().chain(endpoints.iter().map(to_row)).collect();
        table(&rows).iter().try_for_each(|line| print(line))?;
    }
    let ill = endpoints.iter().filter(|endpoint| !is_well(endpoint)).count();
    match ill {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{ill} of {} nodes of `{service}` not ready",
            endpoints.len()
        ))),
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

fn to_row(endpoint: &EndpointStatus) -> Vec<String> {
    let node = &endpoint.node;
    vec![
        node.id().to_owned(),
        node.version().to_owned(),
        node.address().to_string(),
        endpoint.state.name().to_owned(),
        endpoint.connections.to_string(),
        endpoint.in_flight.to_string(),
        endpoint.last_error.as_deref().unwrap_or_default().to_owned(),
    ]
}

fn to_json(endpoint: &EndpointStatus) -> Value {
    let node = &endpoint.node;
    let mut shown = json!({
        "node": node.id(),
        "version": node.version(),
        "address": node.address().to_string(),
        "state": endpoint.state.name(),
        "held": endpoint.held,
        "connections": endpoint.connections,
        "calls": endpoint.in_flight,
        "latencyMs": endpoint.latency.as_secs_f64() * 1_000.0,
        "ejectedForMs": endpoint.ejected_for.as_secs_f64() * 1_000.0,
    });
    if let Some(error) = &endpoint.last_error {
        shown["lastError"] = (**error).into();
    }
    shown
}
