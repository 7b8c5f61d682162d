//! The bytes of a connection: whether the node speaks HTTP/2, whether it says anything, and how often it is written to.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::Notify,
};

use super::connector::Io;

/// How many bytes stand before a frame's payload, and which type SETTINGS has (RFC 9113 §4.1, §6.5).
const FRAME_HEAD: usize = 9;
const SETTINGS: u8 = 4;

/// Bytes of a node, and a word when the first of them were the head of a SETTINGS frame, with which every HTTP/2 peer
/// begins (RFC 9113 §3.4). Whoever begins otherwise gets no call: it could not be told whether that ran.
pub(super) struct Heard {
    io: Box<dyn Io>,
    /// Gone once the peer has said what it is.
    spoken: Option<Arc<Notify>>,
    /// What it has said until then.
    head: Vec<u8>,
    traffic: Arc<Traffic>,
}

/// What has passed a connection.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    heard: AtomicBool,
    writes: AtomicU64,
}

impl Traffic {
    /// Whether the peer has said anything since this was asked last.
    pub(super) fn take_heard(&self) -> bool {
        // Looked at first: it is asked more often than anything is heard.
        self.heard.load(Ordering::Relaxed) && self.heard.swap(false, Ordering::Relaxed)
    }

    /// How often anything was written. While this stays the same, nothing that was queued since has left.
    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }
}

impl Heard {
    /// Listens to `io`: `spoken` is told once it is a peer that speaks HTTP/2, and `traffic` of all that passes.
    pub(super) fn new(io: Box<dyn Io>, spoken: Arc<Notify>, traffic: Arc<Traffic>) -> Self {
        Self {
            io,
            spoken: Some(spoken),
            head: Vec::with_capacity(FRAME_HEAD),
            traffic,
        }
    }

    /// Counts a write that is tried, before it is: what fails may have left in part.
    fn write(&self) {
        self.traffic.writes.fetch_add(1, Ordering::Release);
    }

    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.traffic.heard.store(true, Ordering::Relaxed);
        }
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
        self.write();
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
        self.write();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}
