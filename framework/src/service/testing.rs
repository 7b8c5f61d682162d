//! A registry that does what a test's script says, next to the memory registry that it fronts.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use micro_registry::{Error, ErrorKind, Memory, Node, Registry, Result, Snapshot, Watcher};
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{self, Instant},
};
use tokio_util::sync::CancellationToken;

use super::{Identity, ServiceContext};
use crate::Client;

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

impl Call {
    fn event(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Deregister => "deregister",
        }
    }
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

    /// Waits until a call of this kind has come.
    pub(crate) async fn called(&self, call: Call) {
        let log = self.state.lock().unwrap().log.clone().unwrap();
        log.written(call.event()).await;
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
                log.write(call.event());
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

/// A service to be part of.
pub(crate) fn context() -> ServiceContext {
    let client = Client::builder(Arc::new(Memory::default()))
        .control(Handle::current())
        .build()
        .unwrap();
    let mut identity = Identity::new("greeter".parse().unwrap());
    identity.id = Some("greeter-1".to_owned());
    ServiceContext::new(&mut identity, client, false, CancellationToken::new())
}

/// What happened, in its order, with whether the service was ready then.
#[derive(Clone)]
pub(crate) struct Log {
    is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    events: watch::Sender<Vec<(Instant, String)>>,
}

impl Log {
    pub(crate) fn new(is_ready: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self {
            is_ready: Arc::new(is_ready),
            events: watch::Sender::default(),
        }
    }

    pub(crate) fn write(&self, event: impl Into<String>) {
        let mut event = event.into();
        if (self.is_ready)() {
            event.push_str(", ready");
        }
        self.events
            .send_modify(|events| events.push((Instant::now(), event)));
    }

    pub(crate) fn events(&self) -> Vec<String> {
        let events = self.events.borrow();
        events.iter().map(|(_, event)| event.clone()).collect()
    }

    /// Waits until `event` has been written.
    pub(crate) async fn written(&self, event: &str) {
        let mut events = self.events.subscribe();
        let is_there = |events: &Vec<(Instant, String)>| events.iter().any(|(_, written)| written == event);
        events.wait_for(is_there).await.unwrap();
    }

    /// How much time passed between two events.
    pub(crate) fn between(&self, first: &str, second: &str) -> Duration {
        let events = self.events.borrow();
        let at = |event: &str| events.iter().find(|(_, written)| written == event).unwrap().0;
        at(second) - at(first)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.events()).finish()
    }
}
