//! What ends a service from outside: signals, and a cancelled token.

use std::{future::Future, io, pin::pin};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Error, ErrorKind, Result};

/// The names of signals, as they come.
pub(super) type Signals = BoxStream<'static, &'static str>;

/// The signals that ask this process to end.
#[cfg(unix)]
fn of_this_process() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};

    let named = [
        ("SIGTERM", SignalKind::terminate()),
        ("SIGINT", SignalKind::interrupt()),
        ("SIGQUIT", SignalKind::quit()),
    ];
    let mut signals = Vec::new();
    for (name, kind) in named {
        let one = stream::unfold(signal(kind)?, move |mut signal| async move {
            signal.recv().await.map(|()| (name, signal))
        });
        signals.push(one.boxed());
    }
    Ok(stream::select_all(signals).boxed())
}

/// The signals that ask this process to end.
#[cfg(not(unix))]
fn of_this_process() -> io::Result<Signals> {
    let mut signal = tokio::signal::windows::ctrl_c()?;
    Ok(stream::poll_fn(move |cx| signal.poll_recv(cx).map(|came| came.map(|()| "Ctrl-C"))).boxed())
}

/// Waits for what ends a service, and counts the signals.
pub(super) struct Stop {
    signals: Signals,
    token: CancellationToken,
    received: u32,
}

impl Stop {
    /// Listens to `signals`, or to those of this process, and to `token`.
    pub(super) fn listen(signals: Option<Signals>, token: CancellationToken) -> Result<Self> {
        let signals = match signals {
            Some(signals) => signals,
            None => of_this_process()
                .map_err(|error| Error::new(ErrorKind::Server, "listen to signals").with_source(error))?,
        };
        Ok(Self {
            // After the last signal of a test none comes, which is no end.
            signals: signals.chain(stream::pending()).boxed(),
            token,
            received: 0,
        })
    }

    /// Does `work` until it ends; `None` when the service is told to stop first.
    pub(super) async fn first_or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => {
                info!("stopping: the cancellation token was cancelled");
                None
            }
            Some(signal) = self.signals.next() => {
                self.received += 1;
                info!(signal, "stopping; a second signal ends at once");
                None
            }
            ended = work => Some(ended),
        }
    }

    /// Does `work` until it ends; `None` when the second signal comes first.
    pub(super) async fn second_or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                Some(signal) = self.signals.next() => {
                    self.received += 1;
                    if self.received > 1 {
                        warn!(signal, "ending at once: the second signal");
                        return None;
                    }
                    info!(signal, "stopping already; one more signal ends at once");
                }
                ended = &mut work => return Some(ended),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn stop(signals: &[&'static str]) -> (Stop, CancellationToken) {
        let token = CancellationToken::new();
        let signals = stream::iter(signals.to_vec()).boxed();
        (Stop::listen(Some(signals), token.clone()).unwrap(), token)
    }

    #[tokio::test]
    async fn work_that_ends_by_itself_is_its_own_end() {
        let (mut stop, _) = stop(&[]);
        assert_eq!(stop.first_or(ready(1)).await, Some(1));
        assert_eq!(stop.second_or(ready(2)).await, Some(2));
    }

    #[tokio::test]
    async fn a_signal_and_a_cancelled_token_end_the_way_up() {
        let (mut by_signal, _) = stop(&["SIGTERM"]);
        assert_eq!(by_signal.first_or(pending::<()>()).await, None);
        let (mut by_token, token) = stop(&[]);
        token.cancel();
        assert_eq!(by_token.first_or(pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn the_second_signal_ends_the_way_down() {
        let (mut after_signal, _) = stop(&["SIGTERM", "SIGINT"]);
        after_signal.first_or(pending::<()>()).await;
        assert_eq!(after_signal.second_or(pending::<()>()).await, None);
        let (mut after_token, token) = stop(&["SIGINT", "SIGINT"]);
        token.cancel();
        after_token.first_or(pending::<()>()).await;
        assert_eq!(after_token.second_or(pending::<()>()).await, None);
    }

    #[tokio::test]
    async fn one_signal_after_a_failure_does_not_cut_the_way_down_short() {
        let (mut stop, _) = stop(&["SIGTERM"]);
        let down = async {
            tokio::task::yield_now().await;
            "down"
        };
        assert_eq!(stop.second_or(down).await, Some("down"));
    }
}
