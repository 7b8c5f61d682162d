//! Consul's agent asks services of ours how they are: `grpc.health.v1`, `/ready`, and whether they listen.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use micro::{Service, registry::Registry as _};
use micro_registry_consul::{Check, Consul};
use micro_test_servers::Consul as Agent;
use reqwest::Method;
use serde_json::Value;
use tokio::time;

/// No test waits longer for what must come.
const LIMIT: Duration = Duration::from_secs(120);
/// What an agent says of a check that it has not made yet, or that was answered well.
const PASSING: &str = "passing";

/// The state of the one check of the service, and what the agent says of it.
async fn state(agent: &Agent) -> Option<(String, String)> {
    // The catalogue hears of what an agent was answered only now and then.
    let (_, body) = agent.request(Method::GET, "agent/checks", "").await.unwrap();
    let checks: HashMap<String, Value> = serde_json::from_str(&body).unwrap();
    let check = checks.values().find(|check| check["ServiceName"] == "greeter")?;
    let text = |key: &str| check[key].as_str().unwrap().to_owned();
    Some((text("Status"), text("Output")))
}

async fn until(agent: &Agent, what: &str, is_so: impl Fn(&str, &str) -> bool) {
    let mut last = None;
    let reached = time::timeout(LIMIT, async {
        loop {
            last = state(agent).await;
            if last
                .as_ref()
                .is_some_and(|(status, output)| is_so(status, output))
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(reached.await.is_ok(), "waited in vain until {what}: {last:?}");
}

#[tokio::test]
async fn an_agent_that_asks_a_service_finds_it_well_while_it_runs_and_dead_when_it_is_gone() {
    for (check, answer) in [
        (Check::Grpc, "success"),
        (Check::Http, "200 OK"),
        (Check::Tcp, "Success"),
    ] {
        let agent = Agent::builder().start().await.unwrap();
        let registry = || {
            let builder = Consul::builder().address(agent.address()).check(check);
            builder.check_interval(Duration::from_secs(1)).build().unwrap()
        };
        let service = Service::builder("greeter")
            .environment::<String, String>([])
            .registry(Arc::new(registry()))
            .build();
        let running = tokio::spawn(service.unwrap().run());
        // What the agent says of its own probe, not of the registration.
        until(&agent, "the service is well", |status, output| {
            status == PASSING && output.contains(answer)
        })
        .await;
        let looking = registry();
        assert_eq!(looking.get_service("greeter").await.unwrap().len(), 1, "{check}");
        running.abort();
        let _ = running.await;
        until(&agent, "the service is dead", |status, _| status == "critical").await;
        let gone = async { while !looking.get_service("greeter").await.unwrap().is_empty() {} };
        time::timeout(LIMIT, gone).await.unwrap();
    }
}
