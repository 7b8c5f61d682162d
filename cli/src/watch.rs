//! `micro watch`: the nodes that come, change and go, one a line, as the registry tells of them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anstyle::{AnsiColor, Style};
use micro::registry::{Node, Snapshot};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet, time};

use crate::{
    arguments::WatchArguments,
    failure::{Failure, Result},
    lookup::Lookup,
    output::{Form, print, print_styled},
};

/// How often new services are looked for; registries tell only of the nodes of one.
const SERVICES_INTERVAL: Duration = Duration::from_secs(2);
/// How long a registry that failed is left alone.
const RETRY_WAIT: Duration = Duration::from_secs(1);
/// How many services are followed at a time.
const SERVICES_MAX: usize = 1_000;
/// How many snapshots may wait to be shown.
const WAITING_MAX: usize = 64;

/// What became of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Up,
    Changed,
    Down,
}

/// What is known of a service from now on: its nodes, or that the registry cannot tell.
type News = (String, Result<Snapshot>);

/// Shows changes until nobody reads them any more.
pub(crate) async fn watch(lookup: &Lookup, arguments: &WatchArguments) -> Result<()> {
    let (sender, mut news) = mpsc::channel(WAITING_MAX);
    let mut following = JoinSet::new();
    match &arguments.service {
        Some(service) => {
            // A name that is none is said at once.
            lookup.snapshot(service).await?;
            following.spawn(follow(lookup.clone(), service.clone(), sender));
        }
        None => {
            following.spawn(follow_all(lookup.clone(), sender));
        }
    }
    let mut shown = Shown::new(Form::of(arguments.json));
    while let Some((service, snapshot)) = news.recv().await {
        match snapshot {
            Ok(snapshot) => shown.show(&service, &snapshot)?,
            Err(failure) => shown.fail(&service, &failure),
        }
    }
    Err(Failure::new("nothing is followed any more"))
}

/// Sends what becomes of `service`; ends when nobody listens.
async fn follow(lookup: Lookup, service: String, news: mpsc::Sender<News>) {
    loop {
        let failure = match lookup.watch(&service).await {
            Ok(mut watcher) => loop {
                match watcher.next().await {
                    Some(Ok(snapshot)) => {
                        if news.send((service.clone(), Ok(snapshot))).await.is_err() {
                            return;
                        }
                    }
                    Some(Err(error)) => break lookup.failed(&format!("follow `{service}`"), &error),
                    None => break Failure::new(format!("`{service}` is not followed any more")),
                }
            },
            Err(failure) => failure,
        };
        if news.send((service.clone(), Err(failure))).await.is_err() {
            return;
        }
        time::sleep(RETRY_WAIT).await;
    }
}

/// Follows all services there are, and those that come.
async fn follow_all(lookup: Lookup, news: mpsc::Sender<News>) {
    let mut following: HashMap<String, tokio::task::AbortHandle> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        match lookup.services().await {
            Ok(services) => {
                for service in services.into_iter().take(SERVICES_MAX) {
                    following.entry(service).or_insert_with_key(|service| {
                        tasks.spawn(follow(lookup.clone(), service.clone(), news.clone()))
                    });
                }
            }
            Err(failure) => {
                if news.send((String::new(), Err(failure))).await.is_err() {
                    return;
                }
            }
        }
        time::sleep(SERVICES_INTERVAL).await;
    }
}

/// What has been shown already.
#[derive(Debug)]
struct Shown {
    form: Form,
    nodes: HashMap<String, BTreeMap<String, Arc<Node>>>,
    failures: HashMap<String, String>,
}

impl Shown {
    fn new(form: Form) -> Self {
        Self {
            form,
            nodes: HashMap::new(),
            failures: HashMap::new(),
        }
    }

    fn show(&mut self, service: &str, snapshot: &Snapshot) -> Result<()> {
        self.failures.remove(service);
        let now: BTreeMap<_, _> = snapshot
            .nodes()
            .iter()
            .map(|node| (node.id().to_owned(), Arc::clone(node)))
            .collect();
        let before = self.nodes.insert(service.to_owned(), now.clone());
        for (change, node) in changes(&before.unwrap_or_default(), &now) {
            self.line(change, &node)?;
        }
        Ok(())
    }

    /// Says once what is wrong, until it is right again.
    fn fail(&mut self, service: &str, failure: &Failure) {
        let words = failure.to_string();
        if self.failures.insert(service.to_owned(), words.clone()).as_ref() != Some(&words) {
            self.form.tell(failure);
        }
    }

    fn line(&self, change: Change, node: &Node) -> Result<()> {
        let at = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        if self.form == Form::Json {
            let line = json!({
                "at": at,
                "change": change.word(),
                "service": node.service().as_str(),
                "node": node.id(),
                "version": node.version(),
                "address": node.address().to_string(),
                "metadata": node.metadata(),
            });
            return print(&line.to_string());
        }
        let (service, id, version, address) = (node.service(), node.id(), node.version(), node.address());
        let word = format!("{:7}", change.word());
        let rest = format!("{service}  {id}  {version}  {address}");
        print_styled(&[
            (Style::new(), &format!("{at}  ")),
            (change.style(), &word),
            (Style::new(), &format!("  {rest}")),
        ])
    }
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Changed => "changed",
            Self::Down => "down",
        }
    }

    fn style(self) -> Style {
        match self {
            Self::Up => AnsiColor::Green.on_default(),
            Self::Changed => AnsiColor::Yellow.on_default(),
            Self::Down => AnsiColor::Red.on_default(),
        }
    }
}

/// What happened between two looks: who went first, so that a node that was replaced reads as such.
fn changes(
    before: &BTreeMap<String, Arc<Node>>,
    now: &BTreeMap<String, Arc<Node>>,
) -> Vec<(Change, Arc<Node>)> {
    let gone = before.iter().filter(|(id, _)| !now.contains_key(*id));
    let gone = gone.map(|(_, node)| (Change::Down, Arc::clone(node)));
    let there = now.iter().filter_map(|(id, node)| match before.get(id) {
        None => Some((Change::Up, Arc::clone(node))),
        Some(old) if old != node => Some((Change::Changed, Arc::clone(node))),
        Some(_) => None,
    });
    gone.chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(nodes: &[(&str, &str)]) -> BTreeMap<String, Arc<Node>> {
        let nodes = nodes.iter().map(|(id, version)| {
            let node = Node::builder("shop".parse().unwrap(), *id, "10.0.0.7:9090".parse().unwrap());
            // The same boot, so that nothing else tells two apart.
            let node = node.version(*version).boot("boot").build().unwrap();
            ((*id).to_owned(), Arc::new(node))
        });
        nodes.collect()
    }

    #[test]
    fn who_goes_comes_and_changes_is_told_apart() {
        let before = nodes(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = nodes(&[("b", "1"), ("c", "2"), ("d", "1")]);
        let told: Vec<_> = changes(&before, &now)
            .into_iter()
            .map(|(change, node)| (change, node.id().to_owned()))
            .collect();
        assert_eq!(
            told,
            [
                (Change::Down, "a".to_owned()),
                (Change::Changed, "c".to_owned()),
                (Change::Up, "d".to_owned()),
            ]
        );
        assert!(changes(&now, &now).is_empty());
    }

    #[test]
    fn a_registry_that_stays_away_is_told_of_once() {
        let mut shown = Shown::new(Form::Text);
        let failure = Failure::new("away");
        shown.fail("shop", &failure);
        assert_eq!(shown.failures.get("shop").map(String::as_str), Some("away"));
        shown.show("shop", &Snapshot::empty()).unwrap();
        assert!(shown.failures.is_empty());
    }
}
