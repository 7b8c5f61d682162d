//! An open-loop load: calls at a fixed rate, whether or not the answers keep up, each with a record.

use std::{
    fmt,
    time::{Duration, Instant},
};

use micro::{CallOptions, Channel, Peer};
use tokio::{sync::oneshot, task::JoinHandle, task::JoinSet, time};
use tonic::{Code, Request, Response, Status};

use super::records::Records;
use crate::probe::{Answer, Call, probe_client::ProbeClient};

/// What says when to try again.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// How many answers a stream has.
const MESSAGES: u32 = 20;

/// What a load calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Idempotent calls alone.
    Read,
    /// Idempotent calls and others, in turn.
    ReadAndWrite,
    /// Idempotent calls that a node makes on our behalf.
    Relay,
    /// Streams of twenty answers, with the work before each.
    Stream,
}

/// How a load calls.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Calls a second.
    pub rate: u32,
    /// The deadline of each.
    pub deadline: Duration,
    /// How long each handler works.
    pub work: Duration,
    /// What is called.
    pub kind: Kind,
    /// How many bytes each call has besides.
    pub padding: usize,
}

/// One call, and what became of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The id that the executed call has, too.
    pub id: u64,
    /// Whether it may be sent again.
    pub idempotent: bool,
    /// When it was begun.
    pub started: Instant,
    /// When its answer was there.
    pub ended: Instant,
    /// What became of it.
    pub code: Code,
    /// What was said of it.
    pub message: String,
    /// Whether it was said when to try again.
    pub pushback: bool,
    /// Who answered, or who failed it.
    pub node: Option<String>,
}

impl Record {
    /// Whether it took `delay` or longer, or failed.
    #[must_use]
    pub fn is_late(&self, delay: Duration) -> bool {
        self.code != Code::Ok || self.took() >= delay
    }

    /// How long the caller waited.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.ended - self.started
    }
}

/// A load that runs. Dropping it ends it.
pub struct Load {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Vec<Record>>,
}

impl Load {
    /// Begins to call through `channel`.
    #[must_use]
    pub fn start(channel: Channel, plan: Plan) -> Self {
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(channel, plan, stopped));
        Self { stop, task }
    }

    /// Ends the load, and gives every call that was made.
    ///
    /// # Panics
    ///
    /// When a call panicked.
    pub async fn stop(self) -> Records {
        // The task may have ended by a panic, which the next line tells.
        let _ = self.stop.send(());
        Records::new(self.task.await.expect("no call panics"))
    }
}

impl fmt::Debug for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Load").finish_non_exhaustive()
    }
}

async fn run(channel: Channel, plan: Plan, mut stopped: oneshot::Receiver<()>) -> Vec<Record> {
    // Each load has ids of its own, so that several loads of one scenario do not look like repetitions.
    let first = u64::from(fastrand::u32(1..)) << 32;
    // The default catches up in bursts: the rate is kept, as it is by many independent callers.
    let mut ticks = time::interval(Duration::from_secs(1) / plan.rate);
    let (mut running, mut records) = (JoinSet::new(), Vec::new());
    for id in first.. {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            _ = ticks.tick() => {
                running.spawn(one(channel.clone(), id, plan));
            }
        }
        while let Some(record) = running.try_join_next() {
            records.push(record.expect("a call does not panic"));
        }
    }
    records.extend(running.join_all().await);
    records
}

async fn one(channel: Channel, id: u64, plan: Plan) -> Record {
    let idempotent = match plan.kind {
        Kind::Read | Kind::Relay => true,
        Kind::ReadAndWrite => id.is_multiple_of(2),
        Kind::Stream => false,
    };
    let mut request = Request::new(Call {
        id,
        work_ms: u32::try_from(plan.work.as_millis()).expect("a handler's work is short"),
        padding: vec![0; plan.padding],
        count: MESSAGES,
        ..Call::default()
    });
    request
        .extensions_mut()
        .insert(CallOptions::new().timeout(plan.deadline));
    let mut client = ProbeClient::new(channel);
    let started = Instant::now();
    let answer = match plan.kind {
        Kind::Relay => client.relay(request).await,
        Kind::Stream => stream(&mut client, request).await,
        _ if idempotent => client.read(request).await,
        _ => client.write(request).await,
    };
    let ended = Instant::now();
    let pushback = answer
        .as_ref()
        .is_err_and(|status| status.metadata().contains_key(PUSHBACK));
    let (code, message, node) = match answer {
        Ok(answer) => {
            let peer = answer
                .extensions()
                .get::<Peer>()
                .map(|peer| peer.node_id().to_owned());
            (Code::Ok, String::new(), peer)
        }
        Err(status) => (status.code(), status.message().to_owned(), node_of(&status)),
    };
    Record {
        id,
        idempotent,
        started,
        ended,
        code,
        message,
        pushback,
        node,
    }
}

/// Takes a stream to its end, and gives its last answer. One that lacks an answer has failed, however it ended.
async fn stream(
    client: &mut ProbeClient<Channel>,
    request: Request<Call>,
) -> Result<Response<Answer>, Status> {
    let (metadata, mut answers, extensions) = client.follow(request).await?.into_parts();
    let (mut last, mut seen) = (Answer::default(), 0);
    while let Some(answer) = answers.message().await? {
        (last, seen) = (answer, seen + 1);
    }
    if seen != MESSAGES {
        return Err(Status::data_loss(format!("{seen} answers of {MESSAGES}")));
    }
    Ok(Response::from_parts(metadata, last, extensions))
}

/// The node that a status names: in its metadata when the node itself answered, else as the first word in backticks.
fn node_of(status: &Status) -> Option<String> {
    if let Some(node) = status.metadata().get("micro-node") {
        return node.to_str().ok().map(str::to_owned);
    }
    let (before, _) = status.message().split_once("` of `probe`")?;
    Some(before.rsplit('`').next()?.to_owned())
}
