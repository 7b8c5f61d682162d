//! What the hosts of one simulation share: what is written down of calls and executions, and what faults set.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::directory::Directory;

/// One call, from its start to its end.
#[derive(Clone, Debug)]
pub(crate) struct CallRecord {
    pub(crate) id: u64,
    pub(crate) client: usize,
    pub(crate) idempotent: bool,
    pub(crate) deadline: Duration,
    pub(crate) end: Option<End>,
}

/// How a call ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) at: Duration,
    pub(crate) code: Code,
    /// The node that answered, or the message of the failure.
    pub(crate) said: String,
}

/// That a handler was run.
#[derive(Clone, Debug)]
pub(crate) struct Execution {
    pub(crate) call: u64,
    pub(crate) node: Arc<str>,
    pub(crate) at: Duration,
}

/// One simulation's memory.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) directory: Arc<Directory>,
    slowed_ms: Vec<AtomicU64>,
    /// The present process of each server.
    processes: Mutex<BTreeMap<usize, Process>>,
    records: Mutex<Records>,
}

/// One start of a server.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) node: Arc<str>,
    pub(crate) token: CancellationToken,
}

/// All that was written down.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    pub(crate) calls: Vec<CallRecord>,
    pub(crate) executions: Vec<Execution>,
    /// What is wrong that only a host itself can see.
    pub(crate) complaints: Vec<String>,
    /// What happened, in order.
    pub(crate) trace: Vec<String>,
}

/// The time since the simulation began, as the host sees it that runs.
pub(crate) fn now() -> Duration {
    turmoil::sim_elapsed().expect("asked by a simulated host")
}

impl World {
    pub(crate) fn new(servers: usize) -> Self {
        Self {
            directory: Arc::new(Directory::new()),
            slowed_ms: (0..servers).map(|_| AtomicU64::new(0)).collect(),
            processes: Mutex::default(),
            records: Mutex::default(),
        }
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records
            .lock()
            .expect("no panic while the records are locked")
    }

    /// Writes down what happened.
    pub(crate) fn note(&self, at: Duration, what: &str) {
        self.records()
            .trace
            .push(format!("{:>10.3} {what}", at.as_secs_f64()));
    }

    /// A call begins; answers its number.
    pub(crate) fn begun(&self, client: usize, idempotent: bool, timeout: Duration) -> u64 {
        let started = now();
        let id = self.records().calls.len() as u64;
        self.note(
            started,
            &format!("client {client} calls {id}, idempotent {idempotent}"),
        );
        self.records().calls.push(CallRecord {
            id,
            client,
            idempotent,
            deadline: started + timeout,
            end: None,
        });
        id
    }

    /// The call `id` has ended.
    pub(crate) fn ended(&self, id: u64, code: Code, said: String) {
        let at = now();
        self.note(at, &format!("call {id} ended: {code:?} {said}"));
        let place = usize::try_from(id).expect("numbers are places");
        self.records().calls[place].end = Some(End { at, code, said });
    }

    /// A handler of `node` runs the call `id`.
    pub(crate) fn executed(&self, call: u64, node: &Arc<str>) {
        let at = now();
        self.note(at, &format!("{node} runs {call}"));
        let node = Arc::clone(node);
        self.records().executions.push(Execution { call, node, at });
    }

    pub(crate) fn complain(&self, complaint: String) {
        self.records().complaints.push(complaint);
    }

    /// How much longer the handlers of a server work than they would.
    pub(crate) fn slowed(&self, server: usize) -> Duration {
        Duration::from_millis(self.slowed_ms[server].load(Ordering::Relaxed))
    }

    pub(crate) fn slow(&self, server: usize, millis: u64) {
        self.slowed_ms[server].store(millis, Ordering::Relaxed);
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<usize, Process>> {
        self.processes
            .lock()
            .expect("no panic while the processes are locked")
    }

    /// A new process of `server`, whose node is named after it.
    pub(crate) fn start(&self, server: usize, count: u64) -> Process {
        let process = Process {
            node: format!("server-{server}-{count}").into(),
            token: CancellationToken::new(),
        };
        self.processes().insert(server, process.clone());
        process
    }

    /// The present process of `server`.
    pub(crate) fn process(&self, server: usize) -> Option<Process> {
        self.processes().get(&server).cloned()
    }
}

impl Records {
    /// Equal for two runs in which the same happened at the same time.
    pub(crate) fn fingerprint(&self) -> u64 {
        // Its keys are fixed, unlike those of a map.
        let mut hasher = DefaultHasher::new();
        self.trace.hash(&mut hasher);
        hasher.finish()
    }
}
