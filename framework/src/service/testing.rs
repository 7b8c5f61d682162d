//! A registry that does what a test's script says, next to the memory registry that it fronts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use micro_registry::{Error, ErrorKind, Memory, Node, Registry, Result, Snapshot, Watcher};
use tokio::time::{self, Instant};

/// What the registry does in one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Answer,
    Fail(ErrorKind),
    Hang,
    /// Answers this much later.
    Slow(Duration),
    Panic,
}

/// One call that reached the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Register,
    Deregister,
}

/// A memory registry that can be told to fail, hang or be slow, and keeps a record of the calls.
#[derive(Debug)]
pub(crate) struct Scripted {
    memory: Memory,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    script: VecDeque<Act>,
    otherwise: Act,
    calls: Vec<(Instant, Call)>,
    log: Option<Log>,
    told: Option<mpsc::Sender<Call>>,
}

impl Scripted {
    /// Does one act of `script` after the other, and answers after the last.
    pub(crate) fn new(script: impl IntoIterator<Item = Act>) -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::default(),
            state: Mutex::new(State {
                script: script.into_iter().collect(),
                otherwise: Act::Answer,
                calls: Vec::new(),
                log: None,
                told: None,
            }),
        })
    }

    /// Does `act` in every call from now on.
    pub(crate) fn always(&self, act: Act) {
        let mut state = self.state.lock().unwrap();
        state.script.clear();
        state.otherwise = act;
    }

    /// Writes calls into `log`, too.
    pub(crate) fn log_to(&self, log: &Log) {
        self.state.lock().unwrap().log = Some(log.clone());
    }

    /// Tells a thread of each call from now on.
    pub(crate) fn tell(&self) -> mpsc::Receiver<Call> {
        let (told, calls) = mpsc::channel();
        self.state.lock().unwrap().told = Some(told);
        calls
    }

    /// When each call came.
    pub(crate) fn times(&self, call: Call) -> Vec<Instant> {
        let state = self.state.lock().unwrap();
        state
            .calls
            .iter()
            .filter(|(_, made)| *made == call)
            .map(|(at, _)| *at)
            .collect()
    }

    pub(crate) fn count(&self, call: Call) -> usize {
        self.times(call).len()
    }

    /// The memory behind it, which another node may use directly.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many nodes stand in the registry.
    pub(crate) async fn nodes(&self, service: &str) -> usize {
        self.memory.get_service(service).await.unwrap().len()
    }

    async fn act(&self, call: Call) -> Result<()> {
        let act = {
            let mut state = self.state.lock().unwrap();
            state.calls.push((Instant::now(), call));
            if let Some(told) = &state.told {
                // The test has heard enough.
                let _ = told.send(call);
            }
            if let Some(log) = &state.log {
                log.write(match call {
                    Call::Register => "register",
                    Call::Deregister => "deregister",
                });
            }
            state.script.pop_front().unwrap_or(state.otherwise)
        };
        match act {
            Act::Answer => Ok(()),
            Act::Fail(kind) => Err(Error::new(kind, "as the script says")),
            Act::Hang => std::future::pending().await,
            Act::Slow(wait) => {
                // Nothing comes, so this is the wait.
                let _ = time::timeout(wait, std::future::pending::<()>()).await;
                Ok(())
            }
            Act::Panic => panic!("as the script says"),
        }
    }
}

#[async_trait]
impl Registry for Scripted {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        self.act(Call::Register).await?;
        self.memory.register(node, ttl).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        self.act(Call::Deregister).await?;
        self.memory.deregister(node).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        self.memory.get_service(service).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.memory.list_services().await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        self.memory.watch(service).await
    }

    fn name(&self) -> &'static str {
        "scripted"
    }
}

/// What happened, in its order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn write(&self, event: impl Into<String>) {
        self.0.lock().unwrap().push(event.into());
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
