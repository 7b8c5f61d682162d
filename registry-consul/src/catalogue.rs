//! The looking side: what Consul lists, and whether "nobody" means nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use micro_registry::{Error, ErrorKind, Result, ServiceName, SkippedRecords, Snapshot};
use reqwest::StatusCode;
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::{
    sync::SemaphorePermit,
    time::{self, Instant},
};

use crate::{
    agent::{Agent, Agents},
    decoder::{Decoder, each_of},
    follower::Source,
    http::{Answer, Http, Request},
    record::{Entry, Stored},
};

/// How long an agent holds a request for a change before it says that there was none.
const WAIT: Duration = Duration::from_secs(30);
/// As much longer, as a part of the wait, as an agent may take so that not all answers come at once.
const WAIT_SPREAD: u32 = 16;
/// Counts the changes of what was listed.
const INDEX: &str = "x-consul-index";
/// What happens where no rule says otherwise; since Consul 1.9.
const DEFAULT_POLICY: &str = "x-consul-default-acl-policy";
/// Whether something was left out because of a missing right; since Consul 1.11.
const FILTERED: &str = "x-consul-results-filtered-by-acls";
/// Whether there is somebody who knows what is true.
const KNOWN_LEADER: &str = "x-consul-knownleader";
/// For how many milliseconds the server that answered has not heard of whoever knows.
const LAST_CONTACT: &str = "x-consul-lastcontact";
/// A server that has not heard for longer of whoever knows is believed as little as one that knows no leader.
const LAST_CONTACT_MAX: Duration = Duration::from_secs(5);
/// How long a list is waited for before it is asked for a second time, by another connection: the kept one may be dead
/// without anybody knowing.
const PATIENCE: Duration = Duration::from_secs(4);
/// The servers of Consul itself, nobody's service.
const CONSUL: &str = "consul";
/// What is asked of every list: any server may answer, also one that knows no leader at the moment.
const ALL: &[(&str, &str)] = &[("stale", "")];
/// What is asked of a list of nodes: those alone that pass.
const PASSING: &[(&str, &str)] = &[("stale", ""), ("passing", "1")];

/// Lists services and their nodes.
#[derive(Debug)]
pub(crate) struct Catalogue {
    http: Arc<Http>,
    agents: Agents,
    datacenter: Option<String>,
    skipped: SkippedRecords,
    began: Instant,
}

/// All passing nodes of a service, Consul's number of this state, and how sure it is.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) snapshot: Snapshot,
    pub(crate) index: u64,
    /// Whether the server that answered knows a leader, and heard of it lately. One that did not may have forgotten what
    /// others know.
    pub(crate) is_led: bool,
    /// For how long it had not heard of the leader.
    pub(crate) behind: Duration,
}

/// A check that does not pass, as far as it tells whom it concerns.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct FailingCheck {
    #[serde(rename = "Node")]
    agent: String,
    #[serde(rename = "ServiceName")]
    service: String,
}

/// What stands at one agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AtAgent {
    services: BTreeMap<String, Stored>,
}

impl Catalogue {
    pub(crate) fn new(http: Arc<Http>, agents: Agents, datacenter: Option<String>) -> Self {
        Self {
            http,
            agents,
            datacenter,
            skipped: SkippedRecords::new(crate::NAME),
            began: Instant::now(),
        }
    }

    /// The passing records of `service` that have Consul's id `id`, one for each agent that has it, as `agent` has
    /// heard.
    pub(crate) async fn passing_with_id(
        &self,
        agent: &Agent,
        service: &ServiceName,
        id: &str,
    ) -> Result<Vec<Stored>> {
        let what = format!("look for `{id}` in the catalogue");
        // The id has letters, digits and a few marks; no quote is among them.
        let request = Request::get(agent, &["health", "service", service.as_str()], &what)
            .query("stale", "")
            .query("passing", "1")
            .query("filter", &format!("Service.ID == \"{id}\""));
        let answer = self.http.send(&self.http.listing, request).await?;
        let answer = self.http.success(answer)?;
        let mut found = Vec::new();
        each_of(&answer.body, |raw| {
            found.extend(Entry::read(raw).map(|entry| entry.service));
        })
        .map_err(|error| answer.nonsense(error))?;
        found.retain(|stored| stored.is_of(service));
        Ok(found)
    }

    /// The names of all services that have a passing node.
    pub(crate) async fn services(&self) -> Result<Vec<String>> {
        let list = || self.get("list the services", &["catalog", "services"], ALL);
        let answer = list().await?;
        let mut services: BTreeMap<String, IgnoredAny> = parse(&answer)?;
        if services.is_empty() && !is_all(&answer)? {
            self.check_right(CONSUL).await?;
            services = parse(&list().await?)?;
        }
        let doubtful = self.doubtful_services().await?;
        let mut names = Vec::new();
        for name in services.into_keys().filter(|name| name != CONSUL) {
            // What cannot be asked for is not listed either.
            let Ok(service) = name.parse::<ServiceName>() else {
                continue;
            };
            if !doubtful.contains(&name) || self.has_node(&service).await? {
                names.push(name);
            }
        }
        Ok(names)
    }

    async fn has_node(&self, service: &ServiceName) -> Result<bool> {
        match self.list(service, &mut Decoder::default()).await {
            Ok(listing) => Ok(!listing.snapshot.is_empty()),
            // That it is there may be known to those who may not see its nodes.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The services that have a node, or an agent, that does not pass.
    async fn doubtful_services(&self) -> Result<BTreeSet<String>> {
        let (mut services, mut agents) = (BTreeSet::new(), BTreeSet::new());
        for state in ["critical", "warning"] {
            let what = format!("list what is {state}");
            let answer = self.get(&what, &["health", "state", state], ALL).await?;
            for check in parse::<Vec<FailingCheck>>(&answer)? {
                if check.service.is_empty() {
                    agents.insert(check.agent);
                } else {
                    services.insert(check.service);
                }
            }
        }
        for agent in agents {
            let what = format!("list the services of the agent `{agent}`");
            let answer = self.get(&what, &["catalog", "node", &agent], ALL).await?;
            let at_agent = parse::<Option<AtAgent>>(&answer)?.unwrap_or_default();
            services.extend(at_agent.services.into_values().map(Stored::into_service));
        }
        Ok(services)
    }

    /// Looks whether `service`, of which a list has nothing, may be read at all. Older versions answer "nobody" to those
    /// who may not know. What was listed before has to be listed once more: the right may have come in between.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] when a right is missing, [`ErrorKind::Unavailable`] when Consul has just begun.
    async fn check_right(&self, service: &str) -> Result<()> {
        let what = format!("look whether `{service}` may be read");
        // What an agent and what a server know of a right differs for a while after it changed, so both are asked; they
        // refuse this. The agent's status is that of the service: 404 without one, 429 for a warning, 503 for critical.
        let told = self
            .ask(&what, &["agent", "health", "service", "name", service], &[])
            .await?;
        if told.status == StatusCode::INTERNAL_SERVER_ERROR {
            self.http.success(told)?;
        }
        let told = self
            .ask(&what, &["config", "service-defaults", service], ALL)
            .await?;
        // There need be no defaults.
        if told.status != StatusCode::NOT_FOUND {
            self.http.success(told)?;
        }
        let what = "look whether agents may be read";
        let agents = self.get(what, &["catalog", "nodes"], ALL).await?;
        if !parse::<Vec<IgnoredAny>>(&agents)?.is_empty() {
            return Ok(());
        }
        if is_led(&agents) {
            return Err(agents.denied("no agent may be seen"));
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "list anything in Consul: it has no leader and knows no agent",
        ))
    }

    /// What [`try_get`](Self::try_get) answers, tried a second time beside the first when that takes long; waiting for
    /// room is no part of it, so that those who crowd do not ask twice.
    async fn get(&self, what: &str, segments: &[&str], query: &[(&str, &str)]) -> Result<Answer> {
        let room = self.http.listing.room().await;
        let mut first = pin!(self.try_get(what, segments, query, room));
        if let Ok(answer) = time::timeout(PATIENCE, &mut first).await {
            return answer;
        }
        let mut second = pin!(async {
            let room = self.http.listing.room().await;
            self.try_get(what, segments, query, room).await
        });
        tokio::select! {
            answer = &mut first => match answer {
                Ok(answer) => Ok(answer),
                Err(_) => second.await,
            },
            answer = &mut second => match answer {
                Ok(answer) => Ok(answer),
                Err(_) => first.await,
            },
        }
    }

    /// One request that waits for no change and has to succeed.
    async fn try_get(
        &self,
        what: &str,
        segments: &[&str],
        query: &[(&str, &str)],
        _room: SemaphorePermit<'_>,
    ) -> Result<Answer> {
        let attempt = self.agents.attempt();
        let request = self.request(attempt.agent(), segments, query, what);
        let answer = self.http.send_now(&self.http.listing, request).await;
        attempt.answered(answer.and_then(|answer| self.http.success(answer)))
    }

    async fn list_once(&self, service: &ServiceName) -> Result<Answer> {
        let what = format!("list the nodes of `{service}`");
        self.get(&what, &["health", "service", service.as_str()], PASSING)
            .await
    }

    fn listing(&self, service: &ServiceName, answer: &Answer, decoder: &mut Decoder) -> Result<Listing> {
        let index = index_of(answer)?;
        let snapshot = decoder
            .decode(&answer.body, service, &self.skipped)
            .map_err(|error| answer.nonsense(error))?;
        let behind = behind(answer);
        Ok(Listing {
            snapshot,
            index,
            is_led: is_led(answer) && behind <= LAST_CONTACT_MAX,
            behind,
        })
    }

    /// One request that waits for no change, and may be answered by any status.
    async fn ask(&self, what: &str, segments: &[&str], query: &[(&str, &str)]) -> Result<Answer> {
        let attempt = self.agents.attempt();
        let request = self.request(attempt.agent(), segments, query, what);
        attempt.answered(self.http.send(&self.http.listing, request).await)
    }

    fn request<'a>(
        &self,
        agent: &'a Agent,
        segments: &[&str],
        query: &[(&str, &str)],
        what: &'a str,
    ) -> Request<'a> {
        let request = Request::get(agent, segments, what);
        let request = query
            .iter()
            .fold(request, |request, (key, value)| request.query(key, value));
        match &self.datacenter {
            Some(datacenter) => request.query("dc", datacenter),
            None => request,
        }
    }
}

/// Only what passes its checks is listed, and any server may say so.
impl Source for Catalogue {
    type Change = Answer;

    async fn list(&self, service: &ServiceName, decoder: &mut Decoder) -> Result<Listing> {
        let answer = self.list_once(service).await?;
        self.read(service, &answer, decoder).await
    }

    async fn change(&self, service: &ServiceName, index: u64) -> Result<Option<Answer>> {
        let Some(_room) = self.http.room_to_follow() else {
            return Ok(None);
        };
        let what = format!("follow `{service}`");
        let attempt = self.agents.attempt();
        let request = self
            .request(
                attempt.agent(),
                &["health", "service", service.as_str()],
                PASSING,
                &what,
            )
            .query("index", &index.to_string())
            .query("wait", &format!("{}s", WAIT.as_secs()))
            .wait(WAIT + WAIT / WAIT_SPREAD);
        let answer = self.http.send_now(&self.http.following, request).await;
        attempt
            .answered(answer.and_then(|answer| self.http.success(answer)))
            .map(Some)
    }

    fn began(&self) -> Instant {
        self.began
    }

    async fn read(&self, service: &ServiceName, answer: &Answer, decoder: &mut Decoder) -> Result<Listing> {
        let listing = self.listing(service, answer, decoder)?;
        if !listing.snapshot.is_empty() || is_all(answer)? {
            return Ok(listing);
        }
        self.check_right(service.as_str()).await?;
        let answer = self.list_once(service).await?;
        self.listing(service, &answer, decoder)
    }
}

/// Whether `answer`, a list of nobody, certainly left nobody out.
///
/// # Errors
///
/// [`ErrorKind::PermissionDenied`] when it certainly did.
fn is_all(answer: &Answer) -> Result<bool> {
    if answer.header(FILTERED) == Some("true") {
        return Err(answer.denied("what there is may not be seen"));
    }
    Ok(answer.header(DEFAULT_POLICY) == Some("allow"))
}

/// Consul's number of the state that `answer` shows, never 0, which would not wait for a change.
fn index_of(answer: &Answer) -> Result<u64> {
    let index = answer.header(INDEX).and_then(|index| index.parse::<u64>().ok());
    let index = index.ok_or_else(|| answer.nonsense(format!("the answer has no number in {INDEX}")))?;
    Ok(index.max(1))
}

fn is_led(answer: &Answer) -> bool {
    answer.header(KNOWN_LEADER) == Some("true")
}

fn behind(answer: &Answer) -> Duration {
    let told = answer.header(LAST_CONTACT).and_then(|told| told.parse().ok());
    Duration::from_millis(told.unwrap_or_default())
}

fn parse<T: DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_slice(&answer.body).map_err(|error| answer.nonsense(error))
}
