//! One HTTP/2 connection to a node: how it is made, how many streams it carries, and how its end is seen.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use micro_registry::Address;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
    time,
};

use super::{
    body::RequestBody,
    connector::{Connect, Io},
};

/// What a node without settings of its own allows until it has said otherwise, as hyper has it.
const STREAMS_MAX_FIRST: usize = 100;
/// How many bytes stand before a frame's payload, and which type SETTINGS has (RFC 9113 §4.1, §6.5).
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;
/// The longest list of response headers, as tonic has it.
const HEADER_LIST_SIZE_MAX: u32 = 16 * 1024;

/// The end of a connection that calls are sent through.
pub(super) struct Connection {
    pub(super) id: u64,
    sender: http2::SendRequest<RequestBody>,
    streams: AtomicUsize,
    streams_max: Arc<AtomicUsize>,
    closing: AtomicBool,
    answered: AtomicBool,
}

/// How connections to one node are made.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) connector: Arc<dyn Connect>,
    pub(super) address: Address,
    pub(super) timeout: Duration,
    pub(super) keepalive: Keepalive,
}

/// When a silent peer is asked whether it is still there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Whether to ask while no call is open.
    pub(super) while_idle: bool,
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
        let spoken = Arc::new(Notify::new());
        let io = plan.connector.connect(&plan.address).await?;
        let io = TokioIo::new(Heard {
            io,
            spoken: Some(Arc::clone(&spoken)),
            head: Vec::with_capacity(FRAME_HEAD),
        });
        let (sender, connection) = http2::Builder::new(Boxed)
            .timer(TokioTimer::new())
            .max_header_list_size(HEADER_LIST_SIZE_MAX)
            .keep_alive_interval(plan.keepalive.interval)
            .keep_alive_timeout(plan.keepalive.timeout)
            .keep_alive_while_idle(plan.keepalive.while_idle)
            .handshake(io)
            .await
            .map_err(io::Error::other)?;
        let streams_max = Arc::new(AtomicUsize::new(STREAMS_MAX_FIRST));
        let mut driver = Driver {
            connection,
            streams_max: Arc::clone(&streams_max),
        };
        tokio::select! {
            // The driver first: it learns from the first frame how many streams the peer allows.
            biased;
            ended = &mut driver => {
                let closed = "the peer closed before its first frame";
                return Err(ended.map_or_else(io::Error::other, |()| io::Error::other(closed)));
            }
            () = spoken.notified() => {}
        }
        let connection = Self {
            id,
            sender,
            streams: AtomicUsize::new(0),
            streams_max,
            closing: AtomicBool::new(false),
            answered: AtomicBool::new(false),
        };
        Ok((connection, driver))
    }

    /// Takes the place of one stream, if there is one.
    pub(super) fn reserve(&self) -> bool {
        if self.is_closing() {
            return false;
        }
        let before = self.streams.fetch_add(1, Ordering::SeqCst);
        if before < self.streams_max.load(Ordering::Relaxed) {
            return true;
        }
        self.release();
        false
    }

    /// Gives a place back.
    pub(super) fn release(&self) {
        self.streams.fetch_sub(1, Ordering::SeqCst);
    }

    /// How many streams are open.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
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

    /// A sender of one's own, as hyper wants it.
    pub(super) fn sender(&self) -> http2::SendRequest<RequestBody> {
        self.sender.clone()
    }

    /// Sends nothing more through this connection: it takes no new streams. Says whether that is news.
    pub(super) fn close(&self) -> bool {
        !self.closing.swap(true, Ordering::Relaxed)
    }

    /// Whether the connection takes no new streams.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed) || self.sender.is_closed()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id)
            .field("streams", &self.streams)
            .field("streams_max", &self.streams_max)
            .field("closing", &self.closing)
            .finish()
    }
}

/// Runs what hyper runs beside a connection, one future a request, on the present runtime.
///
/// In a box each: hyper's future holds request and response and is long, and on its way into a task, and out of it, it
/// is copied many times.
#[derive(Clone, Copy, Debug)]
struct Boxed;

impl<F> hyper::rt::Executor<F> for Boxed
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        // It ends with its connection, which the control task owns.
        tokio::spawn(Box::pin(future));
    }
}

/// Moves the frames of a connection; done when the connection has ended.
#[derive(Debug)]
pub(super) struct Driver {
    connection: http2::Connection<TokioIo<Heard>, RequestBody, Boxed>,
    streams_max: Arc<AtomicUsize>,
}

impl Future for Driver {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = Pin::new(&mut self.connection).poll(cx);
        // Polled for each request, so the limit is never older than the last one.
        self.streams_max
            .store(self.connection.current_max_send_streams(), Ordering::Relaxed);
        ended
    }
}

/// Bytes of a node, and a word when the first of them were the head of a SETTINGS frame, with which every HTTP/2 peer
/// begins (RFC 9113 §3.4). Whoever begins otherwise gets no call: it could not be told whether that ran.
struct Heard {
    io: Box<dyn Io>,
    /// Gone once the peer has said what it is.
    spoken: Option<Arc<Notify>>,
    /// What it has said until then.
    head: Vec<u8>,
}

impl Heard {
    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.spoken.is_none() {
            return Ok(());
        }
        let missing = FRAME_HEAD - self.head.len();
        self.head.extend(bytes.iter().take(missing));
        if self.head.len() < FRAME_HEAD {
            return Ok(());
        }
        let spoken = self.spoken.take();
        if self.head[3] != SETTINGS || self.head[5..] != [0; 4] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer speaks no HTTP/2",
            ));
        }
        spoken.into_iter().for_each(|spoken| spoken.notify_one());
        Ok(())
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heard").finish_non_exhaustive()
    }
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        Poll::Ready(self.hear(&buf.filled()[before..]))
    }
}

impl AsyncWrite for Heard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A peer that says this and nothing else.
    #[derive(Debug)]
    struct Says(Vec<u8>);

    impl Connect for Says {
        fn connect(&self, _address: &Address) -> super::super::connector::Connecting {
            let words = self.0.clone();
            Box::pin(async move {
                let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
                tokio::io::AsyncWriteExt::write_all(&mut theirs, &words).await?;
                // It listens for ever.
                tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
                Ok(Box::new(ours) as Box<dyn Io>)
            })
        }
    }

    /// A connection to a peer that says no more than it must and allows this many streams. Ends with its driver.
    pub(in super::super) async fn connection(id: u64, streams_max: u8) -> (Connection, Driver) {
        // SETTINGS with MAX_CONCURRENT_STREAMS.
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams_max];
        let (mut connection, driver) = open(&settings).await.unwrap();
        connection.id = id;
        assert_eq!(
            connection.streams_max.load(Ordering::Relaxed),
            usize::from(streams_max)
        );
        (connection, driver)
    }

    async fn open(words: &[u8]) -> io::Result<(Connection, Driver)> {
        let plan = Plan {
            connector: Arc::new(Says(words.to_vec())),
            address: "127.0.0.1:9090".parse().unwrap(),
            timeout: Duration::from_secs(1),
            keepalive: Keepalive {
                interval: Duration::from_secs(10),
                timeout: Duration::from_secs(5),
                while_idle: true,
            },
        };
        Connection::open(1, plan).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_http_2_is_a_connection() {
        assert!(open(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_speaks_something_else_is_none() {
        for words in [
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            "+OK\r\n",
        ] {
            let error = open(words.as_bytes()).await.unwrap_err();
            assert_ne!(error.to_string(), "", "{words}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_says_nothing_is_given_up() {
        let error = open(&[]).await.unwrap_err();
        assert_eq!(error.to_string(), "no HTTP/2 within 1s");
    }
}
