//! The announcing side: which nodes this handle holds, at which agent, and who else claims their ids.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use micro_registry::{Error, ErrorKind, Node, Result, ServiceName};
use reqwest::StatusCode;
use serde::Deserialize;
use tracing::debug;

use crate::{
    agent::{Agent, Agents, Attempt},
    catalogue::Catalogue,
    check::Check,
    http::{Answer, Http, Request},
    record::{self, Extras, Place, Stored},
};

/// How an agent says that it does not know a check: the first two by versions before 1.11, with status 500.
const UNKNOWN_CHECK: [&str; 2] = ["does not have associated TTL", "Unknown check"];
/// How an agent says that it does not know a service, with status 500.
const UNKNOWN_SERVICE: &str = "Unknown service";
/// The state of a service none of whose nodes lives.
const CRITICAL: &str = "critical";

type Key = (ServiceName, String);

/// Announces nodes at one agent after another.
#[derive(Debug)]
pub(crate) struct Announcer {
    http: Arc<Http>,
    agents: Agents,
    extras: Extras,
    sent: Mutex<HashMap<Key, Sent>>,
}

/// What was sent of a node, arrived or not.
#[derive(Clone, Debug)]
struct Sent {
    boot: String,
    registration: Bytes,
    /// The agent that it was sent to last; a check belongs to the agent that it was registered at.
    at: usize,
    /// Agents that may hold it still.
    left: BTreeSet<usize>,
}

/// A service and its state, as the agent itself knows them.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Held {
    aggregated_status: String,
    service: Option<Stored>,
}

/// What became of a heartbeat.
#[derive(PartialEq, Eq)]
enum Heartbeat {
    Taken,
    /// The agent has forgotten the node.
    Unknown,
}

impl Announcer {
    pub(crate) fn new(http: Arc<Http>, agents: Agents, extras: Extras) -> Self {
        Self {
            http,
            agents,
            extras,
            sent: Mutex::default(),
        }
    }

    /// Announces `node`, or renews that it is.
    pub(crate) async fn register(&self, node: &Node, ttl: Duration, catalogue: &Catalogue) -> Result<()> {
        let registration = record::registration(node, ttl, &self.extras)?;
        let attempt = self.agents.urgent_attempt();
        let is_sent = self.sent().get(&key(node)).is_some_and(|sent| {
            sent.boot == node.boot() && sent.at == attempt.at() && sent.registration == registration
        });
        let done = if is_sent {
            self.renew(node, registration, &attempt).await
        } else {
            self.announce(node, registration, &attempt, catalogue).await
        };
        if done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Conflict)
        {
            self.sent().remove(&key(node));
        }
        attempt.answered(done)
    }

    /// Withdraws `node` wherever it may be held, unless another boot holds its id.
    pub(crate) async fn deregister(&self, node: &Node) -> Result<()> {
        let attempt = self.agents.urgent_attempt();
        let at = attempt.at();
        let done = self.withdraw(node, attempt.agent()).await;
        attempt.answered(done)?;
        let sent = {
            let mut sent = self.sent();
            let is_ours = sent.get(&key(node)).is_some_and(|sent| sent.boot == node.boot());
            if is_ours { sent.remove(&key(node)) } else { None }
        };
        let others = sent
            .into_iter()
            .flat_map(|sent| sent.left.into_iter().chain([sent.at]));
        for other in others.filter(|other| *other != at) {
            // If it cannot be told, its check fails in time.
            if let Err(error) = self.withdraw(node, self.agents.get(other)).await {
                debug!(id = node.id(), %error, "a node stays behind at an agent that was left");
            }
        }
        Ok(())
    }

    /// Says that a node lives which was sent to this agent. The heartbeat comes first: what follows may come too late.
    async fn renew(&self, node: &Node, registration: Bytes, attempt: &Attempt<'_>) -> Result<()> {
        if self.heartbeat(node, attempt.agent()).await? == Heartbeat::Unknown {
            return self.put(node, registration, attempt).await;
        }
        match self.held(node, attempt.agent()).await?.service {
            None => self.put(node, registration, attempt).await,
            Some(held) if held.boot() != node.boot() => Err(conflict(node, &held)),
            Some(held) if held.node(&Place::default()).is_ok_and(|held| held == *node) => Ok(()),
            // Somebody changed the record past us.
            Some(_) => self.put(node, registration, attempt).await,
        }
    }

    /// Registers a node which this agent may not know, unless another boot that lives has its id.
    async fn announce(
        &self,
        node: &Node,
        registration: Bytes,
        attempt: &Attempt<'_>,
        catalogue: &Catalogue,
    ) -> Result<()> {
        let held = self.held(node, attempt.agent()).await?;
        let Some(stored) = held.service else {
            let id = record::consul_id(node.service(), node.id());
            let passing = catalogue
                .passing_with_id(attempt.agent(), node.service(), &id)
                .await?;
            if let Some(other) = passing.iter().find(|other| self.is_another(other, node)) {
                return Err(conflict(node, other));
            }
            return self.put(node, registration, attempt).await;
        };
        if self.is_another(&stored, node) && held.aggregated_status != CRITICAL {
            return Err(conflict(node, &stored));
        }
        self.put(node, registration, attempt).await
    }

    /// Whether `stored`, which has the id of `node`, is of another boot that may live.
    ///
    /// A check that the agent makes passes for whoever answers at that address now, and that is `node`.
    fn is_another(&self, stored: &Stored, node: &Node) -> bool {
        let is_replaced = self.extras.check.check != Check::Ttl && stored.is_at(node.address());
        stored.boot() != node.boot() && !is_replaced
    }

    /// Registers without asking, and sends the first heartbeat: a check that was critical stays so until then.
    async fn put(&self, node: &Node, registration: Bytes, attempt: &Attempt<'_>) -> Result<()> {
        let what = doing("register", node);
        let agent = attempt.agent();
        // Noted ahead: if we are cut off, it may have arrived.
        self.note(node, &registration, attempt.at());
        let request = Request::put(agent, &["agent", "service", "register"], &what)
            .query("replace-existing-checks", "true")
            .body(registration);
        let answer = self.http.send(&self.http.announcing, request).await?;
        self.http.success(answer)?;
        match self.heartbeat(node, agent).await? {
            Heartbeat::Taken => Ok(()),
            Heartbeat::Unknown => {
                let message = format!("{what} in Consul at {agent}: it is forgotten at once");
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    fn note(&self, node: &Node, registration: &Bytes, at: usize) {
        let mut sent = self.sent();
        let before = sent.remove(&key(node));
        let left = before.map(|before| {
            let mut left = before.left;
            left.insert(before.at);
            left.remove(&at);
            left
        });
        let now = Sent {
            boot: node.boot().to_owned(),
            registration: registration.clone(),
            at,
            left: left.unwrap_or_default(),
        };
        sent.insert(key(node), now);
    }

    async fn heartbeat(&self, node: &Node, agent: &Agent) -> Result<Heartbeat> {
        if self.extras.check.check != Check::Ttl {
            return Ok(Heartbeat::Taken);
        }
        let check = record::check_id(&record::consul_id(node.service(), node.id()));
        let what = doing("renew", node);
        let request = Request::put(agent, &["agent", "check", "pass", &check], &what);
        let answer = self.http.send(&self.http.announcing, request).await?;
        let is_unknown = answer.status == StatusCode::NOT_FOUND
            || answer.status.is_server_error() && UNKNOWN_CHECK.iter().any(|text| answer.says(text));
        if is_unknown {
            return Ok(Heartbeat::Unknown);
        }
        self.http.success(answer).map(|_| Heartbeat::Taken)
    }

    /// What `agent` itself holds under the id of `node`.
    async fn held(&self, node: &Node, agent: &Agent) -> Result<Held> {
        let id = record::consul_id(node.service(), node.id());
        let what = doing("look for", node);
        let request = Request::get(agent, &["agent", "health", "service", "id", &id], &what);
        let answer = self.http.send(&self.http.announcing, request).await?;
        // The status is that of the service: 404 without one, 429 for a warning, 503 for critical.
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(Held::default());
        }
        match serde_json::from_slice(&answer.body) {
            Ok(held) => Ok(held),
            Err(error) => Err(self
                .http
                .success(answer)
                .map_or_else(|error| error, |answer| answer.nonsense(error))),
        }
    }

    async fn withdraw(&self, node: &Node, agent: &Agent) -> Result<()> {
        let held = self.held(node, agent).await?.service;
        if held.is_none_or(|held| held.boot() != node.boot()) {
            return Ok(());
        }
        let id = record::consul_id(node.service(), node.id());
        let what = doing("deregister", node);
        let request = Request::put(agent, &["agent", "service", "deregister", &id], &what);
        let answer: Answer = self.http.send(&self.http.announcing, request).await?;
        let is_gone = answer.status == StatusCode::NOT_FOUND
            || answer.status.is_server_error() && answer.says(UNKNOWN_SERVICE);
        if is_gone {
            return Ok(());
        }
        self.http.success(answer).map(drop)
    }

    fn sent(&self) -> MutexGuard<'_, HashMap<Key, Sent>> {
        self.sent.lock().expect("no panic while what was sent is locked")
    }
}

fn key(node: &Node) -> Key {
    (node.service().clone(), node.id().to_owned())
}

fn doing(what: &str, node: &Node) -> String {
    format!("{what} node `{}` of `{}`", node.id(), node.service())
}

fn conflict(node: &Node, holder: &Stored) -> Error {
    let message = format!(
        "node id `{}` of `{}` is held by another boot, at {}",
        node.id(),
        node.service(),
        holder.called_at()
    );
    Error::new(ErrorKind::Conflict, message)
}
