//! The service of the fault laboratory: it works for a while, writes down which call it ran, and behaves as it is told.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use micro::Service;
use micro_tests::{
    laboratory::EXECUTIONS,
    probe::{
        Answer, Behaviour, Call, FILE_DESCRIPTOR_SET,
        probe_server::{Probe, ProbeServer},
    },
};
use tokio::time;
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
}

impl Handler {
    async fn run(&self, kind: char, call: &Call) -> Result<Response<Answer>, Status> {
        if self.state.fails.load(Ordering::Relaxed) {
            self.write_down('f', call)?;
            return Err(Status::unavailable("told to fail"));
        }
        self.write_down(kind, call)?;
        assert!(!call.panic, "the call says that the handler panics");
        self.work(call).await;
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

    async fn behave(&self, request: Request<Behaviour>) -> Result<Response<Behaviour>, Status> {
        let told = request.into_inner();
        self.state.fails.store(told.fails, Ordering::Relaxed);
        self.state.unhealthy.store(told.unhealthy, Ordering::Relaxed);
        self.state.extra_ms.store(told.extra_ms, Ordering::Relaxed);
        Ok(Response::new(told))
    }
}

#[tokio::main]
async fn main() -> micro::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
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
            ProbeServer::new(Handler {
                node,
                state,
                executions,
            })
        })
        .descriptors(FILE_DESCRIPTOR_SET)
        .build()?
        .run()
        .await
}
