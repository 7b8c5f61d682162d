//! One HTTP/2 connection to a node: how it is made, how many streams it carries, and how its end is seen.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{Request, Response, uri::Scheme};
use http_body::Body as _;
use micro_registry::Node;
use tokio::{sync::Notify, time};

use super::{
    body::RequestBody,
    dialer::Dialer,
    heard::{Heard, Traffic},
    incoming::Incoming,
    keepalive::{Keepalive, Keeper},
    room::Room,
    sending::Sending,
    spot::Lease,
    streams::STREAMS_MAX_FIRST,
};
use crate::gather::{Batch, Gather};

/// How much a node may send on all streams of a connection before it is told that more is welcome: as much as HTTP/2 knows.
/// Each stream has a limit of its own, and one whose answer nobody reads would else take the place of all others.
const CONNECTION_WINDOW: u32 = WINDOW_MAX;
/// The largest window of HTTP/2.
pub(crate) const WINDOW_MAX: u32 = (1 << 31) - 1;
/// How much of a stream may wait to be written, as tonic has it.
const SEND_BUFFER_MAX: usize = 1024 * 1024;
/// How many calls that were given up are remembered for a second, in which their answers are nothing to wonder about.
const GIVEN_UP_MAX: usize = 1024;
/// How many answers to calls that are no longer remembered a connection survives. h2's own limit of 1024 is reached on a
/// network that held answers back for longer than callers waited, and then takes the calls along that are under way.
const LATE_ANSWERS_MAX: usize = 16 * 1024;
/// The longest list of response headers, as tonic has it.
const HEADER_LIST_SIZE_MAX: u32 = 16 * 1024;

/// The end of a connection that calls are sent through.
pub(super) struct Connection {
    pub(super) id: u64,
    /// That of requests sent through it.
    pub(super) scheme: Scheme,
    sender: SendRequest<Bytes>,
    answered: AtomicBool,
    pub(super) streams: Arc<Lease>,
    traffic: Arc<Traffic>,
    batch: Arc<Batch>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) error: h2::Error,
    /// Whether nothing of it has left for the node.
    pub(super) is_unsent: bool,
    /// Its body, if it was not even queued.
    pub(super) body: Option<RequestBody>,
}

/// How connections to one node are made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) dialer: Dialer,
    pub(super) node: Arc<Node>,
    pub(super) timeout: Duration,
    pub(super) keepalive: Keepalive,
    /// How much the node may send on a stream before it is told that more is welcome.
    pub(super) stream_window: u32,
    /// The places of its streams.
    pub(super) streams: Arc<Lease>,
    /// Where calls wait for a free stream.
    pub(super) room: Arc<Room>,
}

impl Connection {
    /// Connects and waits until the peer has sent its first frame, so that a process that is stopped behind a listening
    /// socket is never taken for a server.
    pub(super) async fn open(id: u64, plan: Plan) -> io::Result<(Self, Driver)> {
        let timeout = plan.timeout;
        time::timeout(timeout, Self::open_unbounded(id, plan))
            .await
            .unwrap_or_else(|_elapsed| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no HTTP/2 within {timeout:?}"),
                ))
            })
    }

    async fn open_unbounded(id: u64, plan: Plan) -> io::Result<(Self, Driver)> {
        let (spoken, traffic) = (Arc::new(Notify::new()), Arc::new(Traffic::default()));
        let (io, scheme) = plan.dialer.dial(&plan.node).await?;
        let io = Heard::new(io, Arc::clone(&spoken), Arc::clone(&traffic));
        let (sender, mut connection) = h2::client::Builder::new()
            .enable_push(false)
            .initial_max_send_streams(STREAMS_MAX_FIRST)
            .initial_window_size(plan.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(HEADER_LIST_SIZE_MAX)
            .max_send_buffer_size(SEND_BUFFER_MAX)
            .max_concurrent_reset_streams(GIVEN_UP_MAX)
            .max_local_error_reset_streams(Some(LATE_ANSWERS_MAX))
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        let pings = connection
            .ping_pong()
            .ok_or_else(|| io::Error::other("the connection has no pings"))?;
        let mut driver = Driver {
            connection,
            keeper: Keeper::new(plan.keepalive, pings, Arc::clone(&traffic)),
            streams: Arc::clone(&plan.streams),
            room: plan.room,
            gather: Gather::default(),
        };
        tokio::select! {
            // The driver first: it learns from the first frame how many streams the peer allows.
            biased;
            ended = &mut driver => {
                let closed = "the peer closed before its first frame";
                return Err(ended.err().unwrap_or_else(|| io::Error::other(closed)));
            }
            () = spoken.notified() => {}
        }
        let connection = Self {
            id,
            scheme,
            sender,
            answered: AtomicBool::new(false),
            streams: plan.streams,
            traffic,
            batch: driver.gather.batch(),
        };
        Ok((connection, driver))
    }

    /// Sends a request, and waits for the head of its answer. A body that is still being produced is sent until the
    /// body of the answer is dropped. It is sent when this is called, not when it is polled; dropping it cancels the request.
    pub(super) fn send(
        &self,
        request: Request<()>,
        body: RequestBody,
    ) -> impl Future<Output = Result<Response<Incoming>, Unanswered>> {
        // Sent here, so that what waits for the answer does not carry what was sent.
        let writes = self.traffic.writes();
        let sent = self.start(request, body);
        async move {
            let (answer, sending) = sent.map_err(|unanswered| *unanswered)?;
            let sending = match sending {
                Some(sending) => sending.begin().await,
                None => None,
            };
            self.batch.add();
            match answer.await {
                Ok(response) => Ok(Incoming::answer(response, sending)),
                Err(error) => Err(Unanswered {
                    error,
                    is_unsent: self.traffic.writes() == writes,
                    body: None,
                }),
            }
        }
    }

    /// Sends the head of a request, and the body if it is short: what sends a longer one comes back.
    fn start(
        &self,
        request: Request<()>,
        body: RequestBody,
    ) -> Result<(ResponseFuture, Option<Box<Sending>>), Box<Unanswered>> {
        let is_empty = body.is_end_stream();
        // A clone each: it waits for no other request's stream.
        match self.sender.clone().send_request(request, is_empty) {
            Ok((answer, _)) if is_empty => Ok((answer, None)),
            Ok((answer, stream)) => Ok((answer, Sending::start(body, stream))),
            Err(error) => Err(Box::new(Unanswered {
                error,
                is_unsent: true,
                body: Some(body),
            })),
        }
    }

    /// Takes the place of one stream, if there is one.
    pub(super) fn reserve(&self) -> bool {
        self.streams.reserve()
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.streams.release();
    }

    /// Remembers that a call was answered.
    pub(super) fn set_answered(&self) {
        // Looked at first: a line that all calls write would be fought over.
        if !self.has_answered() {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a call was ever answered.
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Sends nothing more through this connection: it takes no new streams. Says whether that is news.
    pub(super) fn close(&self) -> bool {
        self.streams.close()
    }

    /// Whether the connection takes no new streams.
    pub(super) fn is_closing(&self) -> bool {
        self.streams.is_closing()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("streams", &self.streams)
            .finish()
    }
}

/// Moves the frames of a connection; done when the connection has ended.
pub(super) struct Driver {
    connection: h2::client::Connection<Heard, Bytes>,
    keeper: Keeper,
    streams: Arc<Lease>,
    room: Arc<Room>,
    gather: Gather,
}

impl Future for Driver {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.gather.waits(this.streams.taken(), cx) {
            return Poll::Pending;
        }
        loop {
            let ended = Pin::new(&mut this.connection).poll(cx);
            // Polled for each request, so the limit is never older than the last one.
            let streams_max = this.connection.max_concurrent_send_streams();
            if this.streams.allow(streams_max) {
                this.room.release();
            }
            if let Poll::Ready(ended) = ended {
                return Poll::Ready(ended.map_err(io::Error::other));
            }
            let is_busy = this.streams.taken() > 0;
            // After the connection: what has arrived is heard before the peer is called silent.
            ready!(this.keeper.poll_ping(is_busy, cx))?;
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.streams.end();
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("streams", &self.streams)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
