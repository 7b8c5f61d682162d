//! Watches how a connection opens, so that a peer which never says what it wants does not hold it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, sleep},
};

use super::heads::Heads;

/// What an HTTP/2 client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEADER_LENGTH: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// What has been seen of a connection before its first request.
#[derive(Debug, Default)]
pub(super) struct Opening {
    requested: AtomicBool,
    sniffed: AtomicBool,
    /// Frames that came whole.
    completed: AtomicUsize,
    /// Whether the rest of something begun is still to come.
    pending: AtomicBool,
}

impl Opening {
    /// The first request has come: nothing is owed any more.
    pub(super) fn requested(&self) {
        // Read first: every request comes here, and a write would take the cache line from the other threads.
        if !self.requested.load(Relaxed) {
            self.requested.store(true, Relaxed);
        }
    }

    /// Whether the peer's version of HTTP is known.
    pub(super) fn is_sniffed(&self) -> bool {
        self.sniffed.load(Relaxed)
    }

    /// Waits until the peer has owed something for too long, which is `first` to begin with and `handshake_timeout` after
    /// that; for ever, once its first request has come.
    ///
    /// A peer owes the headers of its first request. One that speaks HTTP/2 may connect ahead of its calls, as clients
    /// that balance do: it owes its settings, and the rest of every frame and header block that it begins.
    pub(super) async fn overdue(&self, first: Duration, handshake_timeout: Duration) {
        let mut completed_before = 0;
        let mut patience = first;
        loop {
            sleep(patience).await;
            patience = handshake_timeout;
            if self.requested.load(Relaxed) {
                std::future::pending::<()>().await;
            }
            let completed = self.completed.load(Relaxed);
            let pending = self.pending.load(Relaxed);
            if completed == 0 || (pending && completed == completed_before) {
                return;
            }
            completed_before = completed;
        }
    }
}

/// A connection whose opening is watched.
#[derive(Debug)]
pub(super) struct WatchedIo<Io> {
    io: Io,
    reader: Option<Reader>,
    opening: Arc<Opening>,
}

impl<Io> WatchedIo<Io> {
    pub(super) fn new(io: Io, opening: Arc<Opening>) -> Self {
        Self {
            io,
            reader: Some(Reader::Sniffing { matched: 0 }),
            opening,
        }
    }

    fn watch(&mut self, bytes: &mut [u8]) {
        let is_over = match &mut self.reader {
            // Every request has an end that could be read in two ways.
            Some(Reader::Http1(heads)) => return heads.read(bytes),
            Some(_) => self.opening.requested.load(Relaxed),
            None => true,
        };
        if is_over {
            self.reader = None;
        } else if let Some(reader) = &mut self.reader {
            reader.read(bytes, &self.opening);
        }
    }
}

/// Where in its opening a connection is.
#[derive(Debug)]
enum Reader {
    Sniffing { matched: usize },
    Frames(Frames),
    Http1(Heads),
}

#[derive(Debug, Default)]
struct Frames {
    header: [u8; FRAME_HEADER_LENGTH],
    header_filled: usize,
    payload_left: usize,
    in_header_block: bool,
}

impl Reader {
    /// Takes notice of what was read.
    fn read(&mut self, mut bytes: &mut [u8], opening: &Opening) {
        if let Self::Sniffing { matched } = self {
            let compared = (PREFACE.len() - *matched).min(bytes.len());
            if bytes[..compared] != PREFACE[*matched..*matched + compared] {
                // HTTP/1: its first request is owed as a whole, so there are no pieces to watch.
                opening.sniffed.store(true, Relaxed);
                let mut heads = Heads::new();
                heads.read(&mut PREFACE[..*matched].to_vec());
                heads.read(bytes);
                *self = Self::Http1(heads);
                return;
            }
            *matched += compared;
            bytes = &mut bytes[compared..];
            if *matched < PREFACE.len() {
                return;
            }
            opening.sniffed.store(true, Relaxed);
            *self = Self::Frames(Frames::default());
        }
        match self {
            Self::Frames(frames) => frames.read(bytes, opening),
            Self::Http1(heads) => heads.read(bytes),
            Self::Sniffing { .. } => {}
        }
    }
}

impl Frames {
    fn read(&mut self, mut bytes: &[u8], opening: &Opening) {
        while !bytes.is_empty() {
            let skipped = self.payload_left.min(bytes.len());
            self.payload_left -= skipped;
            bytes = &bytes[skipped..];
            if skipped == 0 {
                let taken = (FRAME_HEADER_LENGTH - self.header_filled).min(bytes.len());
                self.header[self.header_filled..self.header_filled + taken].copy_from_slice(&bytes[..taken]);
                self.header_filled += taken;
                bytes = &bytes[taken..];
                if self.header_filled < FRAME_HEADER_LENGTH {
                    break;
                }
                let [high, middle, low, ..] = self.header;
                self.payload_left = u32::from_be_bytes([0, high, middle, low]) as usize;
            }
            if self.header_filled == FRAME_HEADER_LENGTH && self.payload_left == 0 {
                self.complete(opening);
            }
        }
        let pending = self.header_filled > 0 || self.in_header_block;
        opening.pending.store(pending, Relaxed);
    }

    fn complete(&mut self, opening: &Opening) {
        let [_, _, _, kind, flags, ..] = self.header;
        self.header_filled = 0;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.in_header_block = flags & END_HEADERS == 0;
        }
        if !self.in_header_block {
            opening.completed.fetch_add(1, Relaxed);
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WatchedIo<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if self.reader.is_some() {
            self.watch(&mut buffer.filled_mut()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for WatchedIo<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use tokio::time::advance;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(5);
    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

    fn opening_after(pieces: &[&[u8]]) -> (Opening, Reader) {
        let opening = Opening::default();
        let mut reader = Reader::Sniffing { matched: 0 };
        for piece in pieces {
            reader.read(&mut piece.to_vec(), &opening);
        }
        (opening, reader)
    }

    async fn is_overdue_after(opening: &Opening, timeouts: u32) -> bool {
        let mut overdue = std::pin::pin!(opening.overdue(TIMEOUT, TIMEOUT));
        for _ in 0..timeouts {
            if poll!(overdue.as_mut()).is_ready() {
                return true;
            }
            advance(TIMEOUT).await;
        }
        poll!(overdue).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_half_a_preface_missing_settings_and_slow_http_1_headers_are_overdue() {
        for sent in [
            &b""[..],
            &PREFACE[..20],
            PREFACE,
            &[PREFACE, &SETTINGS[..8]].concat(),
            b"GET /health HTTP/1.1\r\n",
        ] {
            assert!(is_overdue_after(&opening_after(&[sent]).0, 1).await, "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http_2_client_that_connects_ahead_may_stay_without_a_request() {
        let (opening, _) = opening_after(&[PREFACE, &SETTINGS]);
        assert!(!is_overdue_after(&opening, 10).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_block_that_does_not_end_is_overdue() {
        let headers_without_end = [0, 0, 1, HEADERS, 0, 0, 0, 0, 1, 0x82];
        let continuation = [0, 0, 0, CONTINUATION, 0, 0, 0, 0, 1];
        let (opening, _) = opening_after(&[PREFACE, &SETTINGS, &headers_without_end, &continuation]);
        assert!(is_overdue_after(&opening, 2).await);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_first_request_nothing_is_owed() {
        let (opening, _) = opening_after(&[b"GET /health HTTP/1.1\r\n\r\n"]);
        opening.requested();
        assert!(!is_overdue_after(&opening, 10).await);
    }

    #[test]
    fn frames_are_counted_whatever_pieces_they_come_in() {
        let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
        let all = [PREFACE, &SETTINGS, &ping, &SETTINGS].concat();
        for size in 1..all.len() {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            let (opening, _) = opening_after(&pieces);
            assert_eq!(opening.completed.load(Relaxed), 3, "pieces of {size}");
            assert!(!opening.pending.load(Relaxed), "pieces of {size}");
        }
    }
}
