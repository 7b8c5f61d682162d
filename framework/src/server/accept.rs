//! The accept loop: no error ends it, and nothing that a connection does holds it up.

use std::{fs::File, io, net::SocketAddr, sync::Arc};

use futures_util::FutureExt;
use metrics::Counter;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Duration, Instant, sleep, timeout_at},
};
use tracing::warn;

use super::{
    Listener,
    connection::{Connections, Refusal},
    metrics::REFUSED_CONNECTIONS,
};
use crate::telemetry::Telemetry;

/// How long a listener that is about to close is asked for more connections.
const LAST_LOOK: Duration = Duration::from_millis(5);
/// The pause after the first of several accept errors; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(5);

/// A cause that lasts is told this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections are turned away between two pauses while the system has no files left.
const TURNED_AWAY_MAX: usize = 256;

/// Accepts connections until they are told to leave, and takes those along that wait by then.
pub(super) async fn accept<L: Listener>(
    mut listener: L,
    connections: Arc<Connections>,
    telemetry: Telemetry,
) {
    let mut acceptor = Acceptor {
        backoff: BACKOFF_MIN,
        errors: Repeated::default(),
        in_all: Refused::new(&telemetry, "in_all"),
        from_one_address: Refused::new(&telemetry, "from_one_address"),
        for_files: counter(&telemetry, "for_files"),
        spare: spare(),
        connections,
    };
    let leave = acceptor.connections.leave.clone();
    leave.run_until_cancelled(acceptor.run(&mut listener)).await;
    // The system has opened them already: closing the listener would reset them.
    // Those that came in since it was last asked are known to it only after a moment.
    let end = Instant::now() + LAST_LOOK;
    while let Ok(Ok((io, peer))) = timeout_at(end, listener.accept()).await {
        // At the limit there is nothing to be done for it, and the peer learns at once.
        let _ = acceptor.connections.serve(io, peer);
    }
}

struct Acceptor {
    connections: Arc<Connections>,
    backoff: Duration,
    errors: Repeated,
    in_all: Refused,
    from_one_address: Refused,
    for_files: Counter,
    /// Held so that there is one to give up for accepting what else would wait in vain.
    spare: Option<File>,
}

impl Acceptor {
    async fn run<L: Listener>(&mut self, listener: &mut L) {
        loop {
            match listener.accept().await {
                Ok((io, peer)) => {
                    self.backoff = BACKOFF_MIN;
                    self.serve(io, peer);
                }
                Err(error) if is_of_one_connection(&error) => tokio::task::yield_now().await,
                Err(error) if is_for_files(&error) => {
                    self.turn_away(listener);
                    self.pause(&error).await;
                    self.spare = self.spare.take().or_else(spare);
                }
                Err(error) => self.pause(&error).await,
            }
        }
    }

    fn serve(&mut self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr) {
        let Err(refusal) = self.connections.serve(io, peer) else {
            return;
        };
        let settings = self.connections.settings();
        match refusal {
            Refusal::TooManyInAll => {
                if let Some(times) = self.in_all.again() {
                    let connections_max = settings.connections_max;
                    warn!(
                        connections_max,
                        times, "closed new connections: there are too many"
                    );
                }
            }
            Refusal::TooManyFromOneAddress => {
                if let Some(times) = self.from_one_address.again() {
                    let connections_per_ip_max = settings.connections_per_ip_max;
                    warn!(
                        connections_per_ip_max,
                        times, "closed new connections: one address has too many"
                    );
                }
            }
        }
    }

    /// Closes the connections that wait, so that their callers go elsewhere instead of waiting for this process.
    fn turn_away<L: Listener>(&mut self, listener: &mut L) {
        if self.spare.take().is_none() {
            return;
        }
        for _ in 0..TURNED_AWAY_MAX {
            let Some(Ok((io, peer))) = listener.accept().now_or_never() else {
                break;
            };
            self.spare = spare();
            if self.spare.is_some() {
                // There is a file besides the one that was given up: the others can be served, too.
                self.serve(io, peer);
                return;
            }
            drop(io);
            self.for_files.increment(1);
        }
        self.spare = spare();
    }

    /// Gives the system time to recover: without a free file, say, accepting again fails at once.
    async fn pause(&mut self, error: &io::Error) {
        if let Some(times) = self.errors.again() {
            warn!(%error, times, "no new connections for now");
        }
        sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(self.connections.settings().accept_backoff_max);
    }
}

/// Whether the error says of one connection that it went before it was accepted; the next may be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Whether the process, or the system, has as many files open as it may: EMFILE and ENFILE, the same on all that is Unix.
fn is_for_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

fn counter(telemetry: &Telemetry, reason: &str) -> Counter {
    telemetry.counter(REFUSED_CONNECTIONS, &[("micro.reason", reason)])
}

/// A file that holds a descriptor and nothing else; `None` where there is none to be had.
fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

/// Connections closed for one reason.
#[derive(Debug)]
pub(super) struct Refused {
    repeated: Repeated,
    counter: Counter,
}

impl Refused {
    pub(super) fn new(telemetry: &Telemetry, reason: &str) -> Self {
        Self {
            repeated: Repeated::default(),
            counter: counter(telemetry, reason),
        }
    }

    /// One more: how many since that was last told, if it is to be told now.
    pub(super) fn again(&mut self) -> Option<u64> {
        self.counter.increment(1);
        self.repeated.again()
    }
}

/// Something that may happen often, and is told seldom.
#[derive(Debug, Default)]
struct Repeated {
    told: Option<Instant>,
    times: u64,
}

impl Repeated {
    /// It happened again: how often since it was last told, if it is to be told now.
    fn again(&mut self) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| told.elapsed() < WARNING_INTERVAL) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_repeats_is_told_at_once_and_then_once_an_interval() {
        let mut repeated = Repeated::default();
        assert_eq!(repeated.again(), Some(1));
        assert_eq!(repeated.again(), None);
        assert_eq!(repeated.again(), None);
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!(repeated.again(), Some(3));
    }
}
