//! The service of the fault laboratory: it works for a while, writes down which call it ran, and behaves as it is told.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use micro::{CallContext, CallOptions, Channel, Service};
use micro_tests::{
    laboratory::{EXECUTIONS, RELAY, SERVICE},
    probe::{
        Answer, Behaviour, Call, FILE_DESCRIPTOR_SET,
        probe_client::ProbeClient,
        probe_server::{Probe, ProbeServer},
    },
};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use tokio::time::{self, Instant};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};
use tracing_subscriber::EnvFilter;

/// How the node behaves; every handler reads it.
#[derive(Debug, Default)]
struct State {
    fails: AtomicBool,
    unhealthy: AtomicBool,
    extra_ms: AtomicU32,
}

#[derive(Debug)]
struct Handler {
    node: String,
    state: Arc<State>,
    /// A write is there for good once it returns, whatever happens to the process.
    executions: Arc<File>,
    /// Whom it calls, if it is there to relay.
    others: Option<Channel>,
}

/// A handler that has not come to its end. One that is dropped before writes down how late after its deadline.
struct Unfinished<'h> {
    executions: &'h File,
    id: u64,
    deadline: Option<Instant>,
    is_finished: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(deadline) = self.deadline.filter(|_| !self.is_finished) {
            let line = format!("x {} {}\n", self.id, deadline.elapsed().as_millis());
            // What is not written down is missed by the laboratory.
            let _ = self.executions.write_all(line.as_bytes());
        }
    }
}

impl Handler {
    async fn run(&self, kind: char, call: &Call) -> Result<Response<Answer>, Status> {
        if self.state.fails.load(Ordering::Relaxed) {
            self.write_down('f', call)?;
            return Err(Status::unavailable("told to fail"));
        }
        self.write_down(kind, call)?;
        assert!(!call.panic, "the call says that the handler panics");
        let mut unfinished = Unfinished {
            executions: &self.executions,
            id: call.id,
            deadline: CallContext::current().deadline(),
            is_finished: false,
        };
        self.work(call).await;
        unfinished.is_finished = true;
        Ok(Response::new(self.answer()))
    }

    fn write_down(&self, kind: char, call: &Call) -> Result<(), Status> {
        let line = format!("{kind} {}\n", call.id);
        (&*self.executions)
            .write_all(line.as_bytes())
            .map_err(|error| Status::internal(format!("write down the call: {error}")))
    }

    async fn work(&self, call: &Call) {
        if call.block_ms > 0 {
            thread::sleep(Duration::from_millis(call.block_ms.into()));
        }
        let extra_ms = self.state.extra_ms.load(Ordering::Relaxed);
        time::sleep(Duration::from_millis(
            u64::from(call.work_ms) + u64::from(extra_ms),
        ))
        .await;
    }

    fn answer(&self) -> Answer {
        Answer {
            node: self.node.clone(),
        }
    }
}

#[tonic::async_trait]
impl Probe for Handler {
    async fn read(&self, request: Request<Call>) -> Result<Response<Answer>, Status> {
        self.run('r', request.get_ref()).await
    }

    async fn write(&self, request: Request<Call>) -> Result<Response<Answer>, Status> {
        self.run('w', request.get_ref()).await
    }

    type FollowStream = std::pin::Pin<Box<dyn Stream<Item = Result<Answer, Status>> + Send>>;

    async fn follow(&self, request: Request<Call>) -> Result<Response<Self::FollowStream>, Status> {
        let call = request.into_inner();
        let answer = self.answer();
        let pause = Duration::from_millis(call.work_ms.max(1).into());
        let answers = tokio_stream::wrappers::IntervalStream::new(time::interval(pause))
            .take(call.count as usize)
            .map(move |_| Ok(answer.clone()));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn relay(&self, request: Request<Call>) -> Result<Response<Answer>, Status> {
        let others = self.others.clone();
        let others = others.ok_or_else(|| Status::failed_precondition("this node does not relay"))?;
        let mut call = Request::new(request.into_inner());
        // A quarter of the time, so that the caller hears what became of it, and no more calls wait here than a connection
        // has streams: one without files takes no second connection.
        if let Some(left) = CallContext::current().remaining() {
            call.extensions_mut().insert(CallOptions::new().timeout(left / 4));
        }
        let answer = ProbeClient::new(others).read(call).await?;
        Ok(Response::new(answer.into_inner()))
    }

    async fn behave(&self, request: Request<Behaviour>) -> Result<Response<Behaviour>, Status> {
        let mut told = request.into_inner();
        self.state.fails.store(told.fails, Ordering::Relaxed);
        self.state.unhealthy.store(told.unhealthy, Ordering::Relaxed);
        self.state.extra_ms.store(told.extra_ms, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        told.wall_clock = since.unwrap_or_default().as_secs();
        Ok(Response::new(told))
    }
}

#[tokio::main]
async fn main() -> micro::Result<()> {
    // Whatever ends the laboratory ends this, too.
    set_pdeathsig(Signal::SIGKILL).expect("the system can end us with our parent");
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // Else what cannot be logged is told on standard error, and where that is full, too, by a panic.
        .log_internal_errors(false)
        .init();
    let file = std::env::var_os(EXECUTIONS).expect("the laboratory names a file for what was run");
    let executions = OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .expect("the laboratory's folder can be written to");
    let state = Arc::new(State::default());
    let (checked, executions) = (Arc::clone(&state), Arc::new(executions));
    Service::builder("probe")
        .check("told", move |_cx| {
            let told = checked.unhealthy.load(Ordering::Relaxed);
            async move {
                if told {
                    return Err(std::io::Error::other("told to be unhealthy"));
                }
                Ok(())
            }
        })
        .add_service_with(move |cx| {
            let node = cx.id().to_owned();
            let others = (cx.service() == RELAY).then(|| {
                let others = cx.client().channel(SERVICE).descriptors(FILE_DESCRIPTOR_SET);
                others.expect("the probe's descriptors decode")
            });
            ProbeServer::new(Handler {
                node,
                state,
                executions,
                others,
            })
        })
        .descriptors(FILE_DESCRIPTOR_SET)
        .build()?
        .run()
        .await
}
