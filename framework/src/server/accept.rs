//! The accept loop: no error ends it, and nothing that a connection does holds it up.

use std::{io, sync::Arc};

use futures_util::FutureExt;
use tokio::time::{Duration, Instant, sleep};
use tracing::warn;

use super::{Listener, connection::Connections};

/// The pause after the first of several accept errors; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_millis(5);

/// A cause that lasts is told this often.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts connections until they are told to leave, and takes those along that wait by then.
pub(super) async fn accept<L: Listener>(mut listener: L, connections: Arc<Connections>) {
    let mut acceptor = Acceptor {
        backoff: BACKOFF_MIN,
        errors: Repeated::default(),
        refusals: Repeated::default(),
        connections,
    };
    let leave = acceptor.connections.leave.clone();
    leave.run_until_cancelled(acceptor.run(&mut listener)).await;
    // The system has opened them already: closing the listener would reset them.
    while let Some(Ok((io, peer))) = listener.accept().now_or_never() {
        // At the limit there is nothing to be done for it, and the peer learns at once.
        let _ = acceptor.connections.serve(io, peer);
    }
}

struct Acceptor {
    connections: Arc<Connections>,
    backoff: Duration,
    errors: Repeated,
    refusals: Repeated,
}

impl Acceptor {
    async fn run<L: Listener>(&mut self, listener: &mut L) {
        loop {
            match listener.accept().await {
                Ok((io, peer)) => {
                    self.backoff = BACKOFF_MIN;
                    if self.connections.serve(io, peer).is_err()
                        && let Some(times) = self.refusals.again()
                    {
                        let connections_max = self.connections.settings().connections_max;
                        warn!(
                            connections_max,
                            times, "closed new connections: there are too many"
                        );
                    }
                }
                Err(error) if is_of_one_connection(&error) => tokio::task::yield_now().await,
                Err(error) => self.pause(&error).await,
            }
        }
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
