//! The announcing side: which nodes this handle holds, at which agent, and who else claims their ids.

mod sent;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use micro_registry::{Error, ErrorKind, Node, Result};
use reqwest::StatusCode;
use serde::Deserialize;
use tokio::time;
use tracing::debug;

use self::sent::Sent;
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
/// How long a renewal that was taken waits to see whether the record is still as it was. An agent that answers slowly is
/// asked by the next one.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

/// Announces nodes at one agent after another.
#[derive(Debug)]
pub(crate) struct Announcer {
    http: Arc<Http>,
    agents: Agents,
    extras: Extras,
    sent: Sent,
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
            sent: Sent::default(),
        }
    }

    /// Announces `node`, or renews that it is.
    pub(crate) async fn register(&self, node: &Node, ttl: Duration, catalogue: &Catalogue) -> Result<()> {
        let registration = record::registration(node, ttl, &self.extras)?;
        let attempt = self.agents.urgent_attempt();
        // An agent that was left may hold it still, and a heartbeat costs less than registering anew.
        let may_be_held = self.sent.may_be_at(node, &registration, attempt.at());
        let done = if may_be_held {
            self.renew(node, registration, &attempt, catalogue).await
        } else {
            self.announce(node, registration, &attempt, catalogue).await
        };
        if done
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::Conflict)
        {
            self.sent.forget(node);
        }
        attempt.answered(done)
    }

    /// Withdraws `node` wherever it may be held, unless another boot holds its id.
    pub(crate) async fn deregister(&self, node: &Node) -> Result<()> {
        let attempt = self.agents.urgent_attempt();
        let at = attempt.at();
        let done = self.withdraw(node, attempt.agent()).await;
        let done = attempt.answered(done);
        for other in self.sent.elsewhere(node, at) {
            // If it cannot be told, its check fails in time.
            if let Err(error) = self.withdraw(node, self.agents.get(other)).await {
                debug!(id = node.id(), %error, "a node stays behind at an agent that was left");
            }
        }
        done?;
        self.sent.forget(node);
        Ok(())
    }

    /// Says that a node lives which was sent to this agent. The heartbeat comes first: what follows may come too late.
    async fn renew(
        &self,
        node: &Node,
        registration: Bytes,
        attempt: &Attempt<'_>,
        catalogue: &Catalogue,
    ) -> Result<()> {
        if self.heartbeat(node, attempt.agent()).await? == Heartbeat::Unknown {
            return self.put(node, registration, attempt).await;
        }
        self.sent.confirm(node, attempt.at());
        let look = time::timeout(LOOK_TIMEOUT, self.held(node, attempt.agent())).await;
        let Ok(held) = look else { return Ok(()) };
        match held?.service {
            None => self.put(node, registration, attempt).await,
            Some(held) if held.boot() != node.boot() => Err(conflict(node, &held)),
            Some(held)
                if held.node(&Place::default()).is_ok_and(|held| held == *node)
                    && self.sent.has_token(node, self.http.token_revision()) =>
            {
                self.look_around(node, attempt.agent(), catalogue).await
            }
            // Somebody changed the record past us, or the agent would go on telling the catalogue of the node with a token
            // that was replaced, and once that is gone could not tell that the node is.
            Some(_) => self.put(node, registration, attempt).await,
        }
    }

    /// Gives way when another boot took the id before this one, at another agent and so that neither saw the other.
    async fn look_around(&self, node: &Node, agent: &Agent, catalogue: &Catalogue) -> Result<()> {
        if !self.sent.has_to_look(node) {
            return Ok(());
        }
        let id = record::consul_id(node.service(), node.id());
        let look = catalogue.passing_with_id(agent, node.service(), &id);
        // What cannot be seen in time, or at all, is looked for by the next renewal.
        let Ok(Ok(passing)) = time::timeout(LOOK_TIMEOUT, look).await else {
            return Ok(());
        };
        let own = passing.iter().filter(|stored| stored.boot() == node.boot());
        let Some(since) = own.map(|stored| stored.create_index).min() else {
            return Ok(());
        };
        let earlier = |other: &&Stored| self.is_another(other, node) && other.create_index < since;
        let Some(holder) = passing.iter().find(earlier) else {
            self.sent.seen_alone(node);
            return Ok(());
        };
        if let Err(error) = self.withdraw(node, agent).await {
            debug!(id = node.id(), %error, "a node that gives way to another stays until its ttl has passed");
        }
        Err(conflict(node, holder))
    }

    /// Registers a node which this agent may not know, unless another boot that lives has its id.
    async fn announce(
        &self,
        node: &Node,
        registration: Bytes,
        attempt: &Attempt<'_>,
        catalogue: &Catalogue,
    ) -> Result<()> {
        let id = record::consul_id(node.service(), node.id());
        // At the same time, as an agent may take seconds for each.
        let (held, passing) = tokio::try_join!(
            self.held(node, attempt.agent()),
            catalogue.passing_with_id(attempt.agent(), node.service(), &id),
        )?;
        let Some(stored) = held.service else {
            return match passing.iter().find(|other| self.is_another(other, node)) {
                Some(other) => Err(conflict(node, other)),
                None => self.put(node, registration, attempt).await,
            };
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
        self.sent
            .note(node, &registration, attempt.at(), self.http.token_revision());
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
