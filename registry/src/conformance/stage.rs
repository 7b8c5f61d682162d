//! What a clause stands on: the harness, a service name of its own, and processes.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use super::{Harness, process::Process, step::Steps};
use crate::{Address, Node, NodeBuilder, Registry, ServiceName};

/// One clause at work: the harness, and a service name that nobody else has.
#[derive(Debug)]
pub struct Stage<H> {
    harness: H,
    service: ServiceName,
    steps: Steps,
}

impl<H: Harness> Stage<H> {
    pub(super) fn new(harness: H, steps: Steps) -> Self {
        Self {
            harness,
            service: unique("suite").parse().expect("letters, digits and a `-`"),
            steps,
        }
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

    /// A node of the clause's service.
    pub(super) fn node(&self, id: &str) -> Node {
        built(self.node_builder(id))
    }

    /// A node of the clause's service, to be given more.
    pub(super) fn node_builder(&self, id: &str) -> NodeBuilder {
        node_of(&self.service, id)
    }

    /// One more process.
    pub(super) async fn process(&self) -> Process {
        self.process_with(self.harness.process().await)
    }

    /// Two processes: most clauses need one that announces and another that looks.
    pub(super) async fn two_processes(&self) -> (Process, Process) {
        (self.process().await, self.process().await)
    }

    /// A process that holds `registry`.
    pub(super) fn process_with(&self, registry: Arc<dyn Registry>) -> Process {
        Process::new(registry, self.steps.clone(), self.harness.change_within())
    }

    /// Ends the clause.
    pub(super) fn fail(&self, what: &str, message: impl fmt::Display) -> ! {
        self.steps.fail(what, message)
    }

    /// Notes what the clause does outside of a process.
    pub(super) fn begin(&self, what: &str) {
        self.steps.begin(what);
    }
}

/// How long to wait before looking again.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Text that nobody else has, in this process or any other.
fn unique(prefix: &str) -> String {
    // The keys of the hash are random.
    format!("{prefix}-{:016x}", RandomState::new().hash_one(prefix))
}

/// A node of `service` with a version, a boot of its own and metadata.
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
