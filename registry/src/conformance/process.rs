//! A registry handle as one process of a clause has it, and a watch of it.

use std::{sync::Arc, time::Duration};

use tokio::time::{self, Instant};

use super::{
    stage::POLL_INTERVAL,
    step::{Chain, Difference, Steps},
};
use crate::{ErrorKind, Node, Registry, Result, ServiceName, Snapshot, Watcher};

/// The ttl of nodes that are to stay: longer than a clause.
const TTL: Duration = Duration::from_secs(900);

/// One process; its calls succeed in time, or end the clause.
#[derive(Clone, Debug)]
pub(super) struct Process {
    registry: Arc<dyn Registry>,
    steps: Steps,
    change_within: Duration,
}

/// A watch whose snapshots are compared with what is expected.
#[derive(Debug)]
pub(super) struct Follower {
    watcher: Watcher,
    what: String,
    steps: Steps,
    change_within: Duration,
}

impl Process {
    pub(super) fn new(registry: Arc<dyn Registry>, steps: Steps, change_within: Duration) -> Self {
        Self {
            registry,
            steps,
            change_within,
        }
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        self.registry.as_ref()
    }

    /// Registers `node` for longer than the clause takes.
    pub(super) async fn register(&self, node: &Node) {
        self.register_for(node, TTL).await;
    }

    pub(super) async fn register_for(&self, node: &Node, ttl: Duration) {
        let what = format!("register node `{}` of `{}`", node.id(), node.service());
        self.steps.success(&what, self.registry.register(node, ttl)).await;
    }

    /// Registers `node` in vain or not; the answer comes in time.
    pub(super) async fn try_register(&self, node: &Node) -> Result<()> {
        let what = format!("register node `{}` of `{}`", node.id(), node.service());
        self.steps.answer(&what, self.registry.register(node, TTL)).await
    }

    pub(super) async fn deregister(&self, node: &Node) {
        let what = format!("deregister node `{}` of `{}`", node.id(), node.service());
        self.steps.success(&what, self.registry.deregister(node)).await;
    }

    pub(super) async fn snapshot(&self, service: &ServiceName) -> Snapshot {
        let what = format!("list the nodes of `{service}`");
        self.steps
            .success(&what, self.registry.get_service(service.as_str()))
            .await
    }

    pub(super) async fn watch(&self, service: &ServiceName) -> Follower {
        let what = format!("watch `{service}`");
        let watcher = self
            .steps
            .success(&what, self.registry.watch(service.as_str()))
            .await;
        Follower {
            watcher,
            what,
            steps: self.steps.clone(),
            change_within: self.change_within,
        }
    }

    /// Waits until `service` has exactly the nodes `expected`.
    pub(super) async fn lists(&self, service: &ServiceName, expected: &[Node]) {
        self.lists_within(service, expected, self.change_within).await;
    }

    pub(super) async fn lists_within(&self, service: &ServiceName, expected: &[Node], within: Duration) {
        let expected = snapshot_of(expected);
        let started = Instant::now();
        loop {
            let found = self.snapshot(service).await;
            if found == expected {
                return;
            }
            if started.elapsed() >= within {
                let difference = Difference {
                    found: &found,
                    expected: &expected,
                };
                let what = format!("list the nodes of `{service}`, for {within:?}");
                self.steps.fail(&what, difference);
            }
            time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until `service` is among the services.
    pub(super) async fn names(&self, service: &ServiceName) {
        self.names_where(&format!("find `{service}` among the services"), |services| {
            services.iter().any(|name| name == service.as_str())
        })
        .await;
    }

    /// Waits until `service` is not among the services.
    pub(super) async fn does_not_name(&self, service: &ServiceName) {
        self.names_where(&format!("miss `{service}` among the services"), |services| {
            !services.iter().any(|name| name == service.as_str())
        })
        .await;
    }

    async fn names_where(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        let started = Instant::now();
        loop {
            let services = self.steps.success(what, self.registry.list_services()).await;
            if !services.is_sorted_by(|a, b| a < b) {
                self.steps.fail(
                    what,
                    format_args!("not sorted, or one stands twice: {services:?}"),
                );
            }
            if holds(&services) {
                return;
            }
            if started.elapsed() >= self.change_within {
                let within = self.change_within;
                self.steps
                    .fail(what, format_args!("not within {within:?}: {services:?}"));
            }
            time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Lists and watches services of `names`, each of which is to be refused as an invalid argument.
    pub(super) async fn refuses(&self, names: &[&str]) {
        for name in names {
            let what = format!("list the nodes of {name:?}");
            let kind = ErrorKind::InvalidArgument;
            self.steps
                .refusal(&what, kind, self.registry.get_service(name))
                .await;
            let what = format!("watch {name:?}");
            self.steps.refusal(&what, kind, self.registry.watch(name)).await;
        }
    }
}

impl Follower {
    /// The next snapshot, which comes in time and is no error.
    pub(super) async fn next(&mut self) -> Snapshot {
        let within = self.change_within;
        self.steps.begin(&self.what);
        let Ok(next) = time::timeout(within, self.watcher.next()).await else {
            self.steps
                .fail(&self.what, format_args!("nothing came within {within:?}"));
        };
        self.good(next)
    }

    /// Waits until the nodes `expected` come; before them may come any step on the way.
    pub(super) async fn yields(&mut self, expected: &[Node]) {
        self.yields_within(expected, self.change_within).await;
    }

    pub(super) async fn yields_within(&mut self, expected: &[Node], within: Duration) {
        let expected = snapshot_of(expected);
        let deadline = Instant::now() + within;
        let mut found = None;
        self.steps.begin(&self.what);
        while found.as_ref() != Some(&expected) {
            match (time::timeout_at(deadline, self.watcher.next()).await, &found) {
                (Ok(next), _) => found = Some(self.good(next)),
                (Err(_), None) => self
                    .steps
                    .fail(&self.what, format_args!("nothing came within {within:?}")),
                (Err(_), Some(found)) => {
                    let difference = Difference {
                        found,
                        expected: &expected,
                    };
                    let what = format!("{}, for {within:?}", self.what);
                    self.steps.fail(&what, difference);
                }
            }
        }
    }

    /// Waits until the nodes `expected` come, or the watch ends with an error, as it may when the backend fails.
    pub(super) async fn yields_or_ends(&mut self, expected: &[Node], within: Duration) -> Ending {
        let expected = snapshot_of(expected);
        let deadline = Instant::now() + within;
        self.steps.begin(&self.what);
        loop {
            match time::timeout_at(deadline, self.watcher.next()).await {
                Ok(Some(Err(_))) => return Ending::Ended,
                Ok(next) => {
                    if self.good(next) == expected {
                        return Ending::Yielded;
                    }
                }
                Err(_) => self.steps.fail(
                    &self.what,
                    format_args!("within {within:?} it neither ended nor yielded {expected:?}"),
                ),
            }
        }
    }

    fn good(&self, next: Option<Result<Snapshot>>) -> Snapshot {
        match next {
            Some(Ok(snapshot)) => snapshot,
            Some(Err(error)) => self.steps.fail(&self.what, Chain(&error)),
            None => self.steps.fail(&self.what, "it ended without an error"),
        }
    }
}

/// What became of a watch whose backend failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It yielded what was expected, and goes on.
    Yielded,
    /// It ended with an error.
    Ended,
}

fn snapshot_of(nodes: &[Node]) -> Snapshot {
    Snapshot::new(nodes.iter().cloned().map(Arc::new))
}
