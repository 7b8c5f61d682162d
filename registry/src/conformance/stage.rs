//! What a clause stands on: a service name of its own, processes, and waits that end with a good message.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::{self, Instant};

use super::Harness;
use crate::{Address, Error, ErrorKind, Node, NodeBuilder, Registry, Result, ServiceName, Snapshot, Watcher};

/// How long one clause may take; each of its waits has a shorter bound and a better message.
pub(super) const CLAUSE_TIMEOUT: Duration = Duration::from_secs(600);
/// How long one call into the registry may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long to wait before looking again.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The ttl of nodes that are to stay: longer than a clause.
const TTL: Duration = Duration::from_secs(900);

/// One clause at work: the harness, and a service name that nobody else has.
#[derive(Debug)]
pub struct Stage<H> {
    harness: H,
    service: ServiceName,
    step: Step,
}

/// A registry handle as one process of the clause has it; its calls succeed in time, or end the clause.
#[derive(Debug)]
pub struct Process {
    registry: Arc<dyn Registry>,
    step: Step,
}

/// A watch whose snapshots are compared with what is expected.
#[derive(Debug)]
pub struct Follower {
    watcher: Watcher,
    step: Step,
}

/// What the clause is doing, for the message when it does not get done.
#[derive(Clone, Debug)]
struct Step {
    clause: &'static str,
    now: Arc<Mutex<String>>,
}

impl<H: Harness> Stage<H> {
    pub(super) fn new(clause: &'static str, harness: H) -> Self {
        let step = Step {
            clause,
            now: Arc::default(),
        };
        Self {
            harness,
            service: unique("suite").parse().expect("letters, digits and a `-`"),
            step,
        }
    }

    pub(super) fn last_step(&self) -> String {
        self.step
            .now
            .lock()
            .expect("no panic while the step is locked")
            .clone()
    }

    pub(super) fn harness(&self) -> &H {
        &self.harness
    }

    /// The service of this clause.
    pub(super) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Another service of this clause, whose name ends in `suffix`.
    pub(super) fn service_with(&self, suffix: &str) -> ServiceName {
        let name = format!("{}{suffix}", self.service);
        name.parse().expect("a suffix within the grammar")
    }

    /// One more process.
    pub(super) async fn process(&self) -> Process {
        Process::new(self.harness.process().await, &self.step)
    }

    /// A process that holds `registry`.
    pub(super) fn process_with(&self, registry: Arc<dyn Registry>) -> Process {
        Process::new(registry, &self.step)
    }

    /// A node of the clause's service.
    pub(super) fn node(&self, id: &str) -> Node {
        built(self.node_builder(id))
    }

    /// A node of the clause's service, to be given more.
    pub(super) fn node_builder(&self, id: &str) -> NodeBuilder {
        node_of(&self.service, id)
    }

    /// How long a change may take.
    pub(super) fn change_within(&self) -> Duration {
        self.harness.change_within()
    }

    /// Ends the clause.
    pub(super) fn fail(&self, message: impl fmt::Display) -> ! {
        self.step.fail(message)
    }
}

impl Process {
    fn new(registry: Arc<dyn Registry>, step: &Step) -> Self {
        Self {
            registry,
            step: step.clone(),
        }
    }

    pub(super) fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    /// Registers `node` for longer than the clause takes.
    pub(super) async fn register(&self, node: &Node) {
        self.register_for(node, TTL).await;
    }

    pub(super) async fn register_for(&self, node: &Node, ttl: Duration) {
        let call = self.try_register(node, ttl).await;
        self.step.good(call);
    }

    pub(super) async fn try_register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let what = format!("register node `{}` of `{}`", node.id(), node.service());
        self.step.call(what, self.registry.register(node, ttl)).await
    }

    pub(super) async fn deregister(&self, node: &Node) {
        let what = format!("deregister node `{}` of `{}`", node.id(), node.service());
        let call = self.step.call(what, self.registry.deregister(node)).await;
        self.step.good(call);
    }

    pub(super) async fn snapshot(&self, service: &ServiceName) -> Snapshot {
        let call = self.registry.get_service(service.as_str());
        let call = self
            .step
            .call(format!("list the nodes of `{service}`"), call)
            .await;
        self.step.good(call)
    }

    pub(super) async fn services(&self) -> Vec<String> {
        let call = self
            .step
            .call("list the services".into(), self.registry.list_services());
        let call = call.await;
        self.step.good(call)
    }

    pub(super) async fn watch(&self, service: &ServiceName) -> Follower {
        let call = self.registry.watch(service.as_str());
        let call = self.step.call(format!("watch `{service}`"), call).await;
        Follower {
            watcher: self.step.good(call),
            step: self.step.clone(),
        }
    }

    /// Waits until `service` has exactly the nodes `expected`, looking again and again.
    pub(super) async fn lists(&self, service: &ServiceName, expected: &[Node], within: Duration) {
        let expected = snapshot_of(expected);
        let started = Instant::now();
        loop {
            let found = self.snapshot(service).await;
            if found == expected {
                return;
            }
            if started.elapsed() >= within {
                let difference = Difference { found, expected };
                self.step
                    .fail(format_args!("listing `{service}` after {within:?}: {difference}"));
            }
            time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Lists and watches services of `names`, each of which is to be refused as `kind`.
    pub(super) async fn refuses_bad_names(&self, names: &[&str], kind: ErrorKind) {
        for name in names {
            let call = self.registry.get_service(name);
            let listed = self.step.call(format!("list the nodes of {name:?}"), call).await;
            self.step.refused(listed, kind);
            let call = self.registry.watch(name);
            let watched = self.step.call(format!("watch {name:?}"), call).await;
            self.step.refused(watched, kind);
        }
    }

    /// Waits until `service` is among the services, or is not.
    pub(super) async fn names(&self, service: &ServiceName, expected: bool, within: Duration) {
        let started = Instant::now();
        loop {
            let services = self.services().await;
            if !services.is_sorted_by(|a, b| a < b) {
                self.step.fail(format_args!(
                    "services are not sorted, or stand twice: {services:?}"
                ));
            }
            if services.iter().any(|name| name == service.as_str()) == expected {
                return;
            }
            if started.elapsed() >= within {
                let wrong = if expected { "misses" } else { "still has" };
                self.step.fail(format_args!(
                    "the list of services {wrong} `{service}` after {within:?}: {services:?}"
                ));
            }
            time::sleep(POLL_INTERVAL).await;
        }
    }
}

impl Follower {
    /// The next snapshot, which comes in time and is no error.
    pub(super) async fn next(&mut self, within: Duration) -> Snapshot {
        self.step.enter("wait for the watcher's next snapshot".into());
        match time::timeout(within, self.watcher.next()).await {
            Ok(Some(Ok(snapshot))) => snapshot,
            Ok(Some(Err(error))) => self
                .step
                .fail(format_args!("the watch failed: {}", Chain(&error))),
            Ok(None) => self.step.fail("the watch ended without an error"),
            Err(_) => self
                .step
                .fail(format_args!("the watcher yielded nothing within {within:?}")),
        }
    }

    /// Waits until the watcher yields exactly the nodes `expected`; what it yields before may be any step on the way.
    pub(super) async fn yields(&mut self, expected: &[Node], within: Duration) {
        let expected = snapshot_of(expected);
        let deadline = Instant::now() + within;
        let mut found = None;
        loop {
            self.step
                .enter("wait until the watcher yields what is expected".into());
            match time::timeout_at(deadline, self.watcher.next()).await {
                Ok(Some(Ok(snapshot))) if snapshot == expected => return,
                Ok(Some(Ok(snapshot))) => found = Some(snapshot),
                Ok(Some(Err(error))) => self
                    .step
                    .fail(format_args!("the watch failed: {}", Chain(&error))),
                Ok(None) => self.step.fail("the watch ended without an error"),
                Err(_) => match found {
                    None => self
                        .step
                        .fail(format_args!("the watcher yielded nothing within {within:?}")),
                    Some(found) => {
                        let difference = Difference { found, expected };
                        self.step
                            .fail(format_args!("the watcher after {within:?}: {difference}"));
                    }
                },
            }
        }
    }

    /// Like [`yields`](Self::yields), for a backend that was disturbed: `false` if the watch ended with an error.
    pub(super) async fn yields_or_ends(&mut self, expected: &[Node], within: Duration) -> bool {
        let expected = snapshot_of(expected);
        let deadline = Instant::now() + within;
        loop {
            self.step
                .enter("wait until the watcher yields what is expected, or ends".into());
            match time::timeout_at(deadline, self.watcher.next()).await {
                Ok(Some(Ok(snapshot))) if snapshot == expected => return true,
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(_))) => return false,
                Ok(None) => self.step.fail("the watch ended without an error"),
                Err(_) => self.step.fail(format_args!(
                    "the watcher neither ended nor yielded {expected:?} within {within:?}"
                )),
            }
        }
    }
}

impl Step {
    fn enter(&self, what: String) {
        *self.now.lock().expect("no panic while the step is locked") = what;
    }

    async fn call<T>(&self, what: String, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.enter(what);
        match time::timeout(CALL_TIMEOUT, call).await {
            Ok(answer) => answer,
            Err(_) => self.fail(format_args!("no answer within {CALL_TIMEOUT:?}")),
        }
    }

    fn good<T>(&self, answer: Result<T>) -> T {
        match answer {
            Ok(answer) => answer,
            Err(error) => self.fail(Chain(&error)),
        }
    }

    fn refused<T: fmt::Debug>(&self, answer: Result<T>, kind: ErrorKind) {
        match answer {
            Err(error) if error.kind() == kind => {}
            Err(error) => self.fail(format_args!("expected is `{kind}`: {}", Chain(&error))),
            Ok(answer) => self.fail(format_args!("expected is `{kind}`: {answer:?}")),
        }
    }

    fn fail(&self, message: impl fmt::Display) -> ! {
        let now = self
            .now
            .lock()
            .expect("no panic while the step is locked")
            .clone();
        panic!("{}: {now}: {message}", self.clause)
    }
}

/// Text that nobody else has, in this process or any other.
pub(super) fn unique(prefix: &str) -> String {
    // Its keys are random, and new for each.
    format!("{prefix}-{:016x}", RandomState::new().hash_one(prefix))
}

pub(super) fn node_of(service: &ServiceName, id: &str) -> NodeBuilder {
    let address = Address::new("127.0.0.1", 9090).expect("loopback can be called");
    Node::builder(service.clone(), id, address)
        .version("1.2.0")
        .boot(unique("boot"))
        .metadata("zone", "a")
}

pub(super) fn built(node: NodeBuilder) -> Node {
    node.build().expect("the suite's nodes are good")
}

fn snapshot_of(nodes: &[Node]) -> Snapshot {
    Snapshot::new(nodes.iter().cloned().map(Arc::new))
}

/// An error with all its causes on one line.
struct Chain<'a>(&'a Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, self.0.kind())?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What is wrong with a snapshot, in few words however large it is.
struct Difference {
    found: Snapshot,
    expected: Snapshot,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN_MAX: usize = 5;
        write!(f, "{} nodes instead of {}", self.found.len(), self.expected.len())?;
        let missing = self
            .expected
            .nodes()
            .iter()
            .filter(|node| self.found.get(node.id()).is_none());
        for node in missing.take(SHOWN_MAX) {
            write!(f, "; missing {node:?}")?;
        }
        let extra = self
            .found
            .nodes()
            .iter()
            .filter(|node| self.expected.get(node.id()).is_none());
        for node in extra.take(SHOWN_MAX) {
            write!(f, "; unexpected {node:?}")?;
        }
        let changed = self.expected.nodes().iter().filter_map(|node| {
            let found = self.found.get(node.id()).filter(|found| *found != node)?;
            Some((found, node))
        });
        for (found, node) in changed.take(SHOWN_MAX) {
            write!(f, "; {found:?} instead of {node:?}")?;
        }
        Ok(())
    }
}
