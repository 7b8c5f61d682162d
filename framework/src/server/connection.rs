//! One connection: served until it ends, asked to go at its age or when the server stops, cut when it must be.

use std::{cell::RefCell, future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, task::Poll};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use http::Request;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpConnectInfo;
use tower_service::Service;
use tracing::debug;

use super::{
    Settings,
    addresses::Addresses,
    opening::{Opening, WatchedIo},
    patient::Patient,
    securing::Securing,
    sending::{Open, OpenCalls, Sending},
    stack::Stack,
};
use crate::{gather::Gather, tls::Caller};

/// The smallest buffer that hyper reads HTTP/1 headers into.
const HTTP1_BUFFER_MIN: usize = 8 * 1024;

/// How long a connection of which nothing has been read is still served once it should go: what its peer sent may be
/// on its way, and closing would lose it.
const UNREAD_GRACE: Duration = Duration::from_millis(250);

/// The age at which connections go differs by this part, so that they do not all go at once.
const AGE_JITTER: f64 = 0.1;

/// What all connections of a server share.
#[derive(Debug)]
pub(super) struct Connections {
    stack: Stack,
    settings: Settings,
    /// The address listened on, unless it is that of every interface.
    local: Option<SocketAddr>,
    addresses: Addresses,
    /// TLS, where it is spoken.
    securing: Option<Securing>,
    /// One task a connection.
    pub(super) open: TaskTracker,
    /// One task a call over HTTP/2.
    pub(super) calls: TaskTracker,
    /// No more connections; those there are go once their calls are finished.
    pub(super) leave: CancellationToken,
    /// All connections end now, with whatever they carry.
    pub(super) cut: CancellationToken,
}

/// What happens to a connection from outside.
enum Event {
    Leave,
    Cut,
    Overdue,
}

impl Connections {
    pub(super) fn new(
        stack: Stack,
        settings: Settings,
        local: SocketAddr,
        securing: Option<Securing>,
    ) -> Self {
        Self {
            stack,
            securing,
            addresses: Addresses::new(settings.connections_per_ip_max),
            settings,
            local: (!local.ip().is_unspecified()).then_some(local),
            open: TaskTracker::new(),
            calls: TaskTracker::new(),
            leave: CancellationToken::new(),
            cut: CancellationToken::new(),
        }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Serves `io` in a task of its own, unless there are as many as may be.
    pub(super) fn serve<Io>(self: &Arc<Self>, io: Io, peer: SocketAddr) -> Result<(), Refusal>
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if self.open.len() >= self.settings.connections_max {
            return Err(Refusal::TooManyInAll);
        }
        let Some(place) = self.addresses.place(peer.ip()) else {
            return Err(Refusal::TooManyFromOneAddress);
        };
        if self.securing.is_none() {
            let served = Arc::clone(self).run(io, peer, None, self.settings.handshake_timeout);
            self.open.spawn(async move {
                served.await;
                drop(place);
            });
            return Ok(());
        }
        let this = Arc::clone(self);
        self.open.spawn(async move {
            this.run_secured(io, peer).await;
            drop(place);
        });
        Ok(())
    }

    /// Shakes hands first; what is left of the time for that is for the first request.
    async fn run_secured<Io>(self: Arc<Self>, io: Io, peer: SocketAddr)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Some(securing) = &self.securing else { return };
        let (begun, timeout) = (Instant::now(), self.settings.handshake_timeout);
        let secured = tokio::select! {
            biased;
            () = self.cut.cancelled() => return,
            // As with a connection of which nothing was read: what its peer sent may be on its way.
            () = self.leave.cancelled().then(|()| sleep(UNREAD_GRACE)) => return,
            secured = securing.secure(io, peer, timeout) => secured,
        };
        if let Some((io, caller)) = secured {
            let left = timeout.saturating_sub(begun.elapsed());
            // In a box, as the handshake has a future of its own.
            Box::pin(Arc::clone(&self).run(io, peer, caller, left)).await;
        }
    }

    /// Serves a connection whose peer has `opening_time` to say what it wants.
    async fn run<Io>(
        self: Arc<Self>,
        io: Io,
        peer: SocketAddr,
        caller: Option<Caller>,
        opening_time: Duration,
    ) where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opening = Arc::new(Opening::default());
        let io = TokioIo::new(WatchedIo::new(
            Patient::new(io, self.settings.write_timeout),
            Arc::clone(&opening),
        ));
        let mut gather = Gather::default();
        let open_calls = OpenCalls::new(gather.batch());
        let http = self.http(Arc::clone(&open_calls));
        let requests = self.requests(&opening, peer, caller);
        let mut connection = pin!(http.serve_connection(io, requests));
        // Polled once for all of them, as every frame of the connection wakes this task.
        let mut events: FuturesUnordered<BoxFuture<'_, Event>> = FuturesUnordered::new();
        events.push(self.cut.cancelled().map(|()| Event::Cut).boxed());
        events.push(self.leave.cancelled().map(|()| Event::Leave).boxed());
        let overdue = opening.overdue(opening_time, self.settings.handshake_timeout);
        events.push(overdue.map(|()| Event::Overdue).boxed());
        if let Some(age) = self.settings.connection_age_max {
            events.push(sleep(jittered(age)).map(|()| Event::Leave).boxed());
        }
        let mut unread_grace = Some(UNREAD_GRACE);
        loop {
            let next = poll_fn(|cx| {
                if gather.waits(open_calls.count(), cx) {
                    return Poll::Pending;
                }
                if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                    if let Err(error) = ended {
                        debug!(%peer, error, "a connection ended with an error");
                    }
                    return Poll::Ready(None);
                }
                events.poll_next_unpin(cx)
            });
            let Some(event) = next.await else { return };
            match event {
                Event::Leave if opening.is_sniffed() => connection.as_mut().graceful_shutdown(),
                Event::Leave => match unread_grace.take() {
                    Some(grace) => events.push(sleep(grace).map(|()| Event::Leave).boxed()),
                    None => connection.as_mut().graceful_shutdown(),
                },
                Event::Overdue => {
                    debug!(%peer, "cut a connection that did not say in time what it wants");
                    return;
                }
                Event::Cut => return,
            }
        }
    }

    fn http(&self, open: Arc<OpenCalls>) -> auto::Builder<StreamExecutor> {
        let calls = self.calls.clone();
        http(&self.settings, StreamExecutor { calls, open })
    }

    fn requests(&self, opening: &Arc<Opening>, peer: SocketAddr, caller: Option<Caller>) -> Requests {
        Requests {
            stack: RefCell::new(self.stack.clone()),
            opening: Arc::clone(opening),
            addresses: TcpConnectInfo {
                local_addr: self.local,
                remote_addr: Some(peer),
            },
            caller,
        }
    }
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    TooManyInAll,
    TooManyFromOneAddress,
}

/// The requests of one connection.
#[derive(Debug)]
struct Requests {
    // Only the connection's own task calls, one request after the other, so the stack is not cloned for each.
    stack: RefCell<Stack>,
    opening: Arc<Opening>,
    /// What `remote_addr` of a tonic request tells.
    addresses: TcpConnectInfo,
    /// Who the peer has shown to be.
    caller: Option<Caller>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = <Stack as Service<Request<Incoming>>>::Response;
    type Error = <Stack as Service<Request<Incoming>>>::Error;
    type Future = <Stack as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.opening.requested();
        request.extensions_mut().insert(self.addresses.clone());
        if let Some(caller) = &self.caller {
            request.extensions_mut().insert(caller.clone());
        }
        // Every layer is ready at any time: what can wait, waits within the call.
        self.stack.borrow_mut().call(request)
    }
}

/// Runs each call in a task that the server knows of.
#[derive(Clone, Debug)]
struct StreamExecutor {
    calls: TaskTracker,
    /// Those that the connection carries now.
    open: Arc<OpenCalls>,
}

impl<F> hyper::rt::Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, call: F) {
        // The task ends with its connection, which resets the stream. In a box: the future is long, and is copied often on
        // its way into a task and out of it.
        let call = Sending::new(call, Open::new(&self.open));
        self.calls.spawn(Box::pin(call));
    }
}

fn http(settings: &Settings, executor: StreamExecutor) -> auto::Builder<StreamExecutor> {
    let mut http = auto::Builder::new(executor);
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.handshake_timeout)
        .max_buf_size(HTTP1_BUFFER_MIN.max(settings.header_size_max as usize));
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(settings.header_size_max)
        .max_pending_accept_reset_streams(settings.pending_resets_allowed())
        .max_local_error_reset_streams(settings.local_resets_max)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        // gRPC has no use for the date, and it would be written anew for every answer.
        .auto_date_header(false);
    http
}

fn jittered(age: Duration) -> Duration {
    age.mul_f64(1.0 + AGE_JITTER * (2.0 * fastrand::f64() - 1.0))
}
