//! Finds a peer that has gone silent: asks whether it is still there, and gives it up when it does not answer.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

use super::heard::Traffic;

/// When a silent peer is asked whether it is still there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keepalive {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// Whether to ask while no call is open.
    pub(super) while_idle: bool,
}

/// Asks the peer of one connection.
pub(super) struct Keeper {
    keepalive: Keepalive,
    pings: PingPong,
    traffic: Arc<Traffic>,
    heard_at: Instant,
    /// Whether a ping was sent that is not answered.
    asked: bool,
    /// When to look again.
    timer: Pin<Box<Sleep>>,
}

impl Keeper {
    pub(super) fn new(keepalive: Keepalive, pings: PingPong, traffic: Arc<Traffic>) -> Self {
        Self {
            keepalive,
            pings,
            traffic,
            heard_at: Instant::now(),
            asked: false,
            timer: Box::pin(sleep(keepalive.interval)),
        }
    }

    /// Ready when a ping is to be sent, for which the connection has to be polled, or with an error when the peer has
    /// said nothing for too long.
    pub(super) fn poll_ping(&mut self, is_busy: bool, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.traffic.take_heard() {
            self.heard_at = Instant::now();
        }
        // An error is the connection's, which says so itself.
        if self.asked && matches!(self.pings.poll_pong(cx), Poll::Ready(Ok(_))) {
            self.asked = false;
            self.timer.as_mut().reset(self.heard_at + self.keepalive.interval);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (
                now,
                Keepalive {
                    interval, timeout, ..
                },
            ) = (Instant::now(), self.keepalive);
            let patience = if self.asked { timeout } else { interval };
            let next = if self.heard_at + patience > now {
                // Any word of the peer counts as an answer: a ping may have to wait behind a long message.
                self.heard_at + patience
            } else if self.asked {
                let message = format!("the peer did not answer a ping within {timeout:?}");
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            } else if !is_busy && !self.keepalive.while_idle {
                now + interval
            } else if self.pings.send_ping(Ping::opaque()).is_ok() {
                self.asked = true;
                self.timer.as_mut().reset(now + timeout);
                return Poll::Ready(Ok(()));
            } else {
                // The connection is closing.
                now + interval
            };
            self.timer.as_mut().reset(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use micro_registry::Address;

    use super::{
        super::{
            connection::{
                Connection,
                tests::{SETTINGS, open, plan},
            },
            connector::{Connect, Connecting, Io},
        },
        *,
    };

    /// A server that speaks HTTP/2 and is asked for nothing.
    #[derive(Debug)]
    struct Serves;

    impl Connect for Serves {
        fn connect(&self, _address: &Address) -> Connecting {
            let (ours, theirs) = tokio::io::duplex(64 * 1024);
            tokio::spawn(async move {
                let mut server = h2::server::handshake(theirs).await.unwrap();
                assert!(server.accept().await.is_none());
            });
            Box::pin(async move { Ok(Box::new(ours) as Box<dyn Io>) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_answers_stays() {
        let plan = plan(Arc::new(Serves), true);
        let (connection, mut driver) = Connection::open(1, plan).await.unwrap();
        let day = Duration::from_secs(24 * 3600);
        assert!(tokio::time::timeout(day, &mut driver).await.is_err());
        drop(connection);
        driver.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_answer_is_given_up() {
        let (_connection, driver) = open(SETTINGS, true).await.unwrap();
        let started = Instant::now();
        let error = driver.await.unwrap_err();
        assert_eq!(error.to_string(), "the peer did not answer a ping within 5s");
        let silent = started.elapsed().as_secs_f64();
        assert!((15.0..15.1).contains(&silent), "{silent}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_need_not_answer_while_idle_is_asked_once_a_call_is_open() {
        let (connection, driver) = open(SETTINGS, false).await.unwrap();
        let mut driver = Box::pin(driver);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, &mut driver).await.is_err());
        assert!(connection.reserve());
        assert!(tokio::time::timeout(hour, &mut driver).await.unwrap().is_err());
    }
}
