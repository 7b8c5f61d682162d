//! A lease of etcd, kept alive on a stream of its own that is opened by its first renewal.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use etcd_client::{Client, Error as EtcdError, LeaseKeepAliveStream, LeaseKeeper};
use micro_registry::{Error, ErrorKind, Result};
use tracing::debug;

use crate::{
    connection::{Connection, Session},
    error,
};

/// The longest time that etcd lets a lease live, in seconds.
const TTL_SECONDS_MAX: u64 = 9_000_000_000;

/// A lease that was granted, alive or not.
pub(super) struct Lease {
    id: i64,
    stream: Mutex<Option<Stream>>,
}

/// A stream on which each request has an answer.
struct Stream {
    session: Session,
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
}

impl Lease {
    /// Asks for a lease that lives for `ttl`, or as long as etcd's shortest.
    pub(super) async fn grant(connection: &Connection, ttl: Duration, what: &str) -> Result<Self> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds.clamp(1, TTL_SECONDS_MAX)).expect("the most is less");
        let grant = |mut client: Client| async move { client.lease_grant(seconds, None).await };
        let answer = connection.call(what, grant).await?;
        if answer.id() == 0 || answer.ttl() < 1 {
            let message = format!("{what} in etcd");
            let reason = format!("it grants lease {} for {} s", answer.id(), answer.ttl());
            return Err(Error::new(ErrorKind::Protocol, message).with_source(reason));
        }
        if answer.ttl() != seconds {
            debug!(asked = seconds, granted = answer.ttl(), "etcd grants another ttl");
        }
        Ok(Self {
            id: answer.id(),
            stream: Mutex::default(),
        })
    }

    pub(super) fn id(&self) -> i64 {
        self.id
    }

    /// Renews the lease; answers whether it lives.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when nobody knows: no server answers, or it has lost the others.
    pub(super) async fn keep_alive(&self, connection: &Connection, what: &str) -> Result<bool> {
        // A server that was left may be asleep, and its connection is of no use to anybody else.
        let stream = self
            .stream()
            .take()
            .filter(|stream| connection.is_present(&stream.session));
        if let Some(mut stream) = stream {
            let session = stream.session.clone();
            let renewed = connection.answer(&session, what, stream.renew()).await?;
            match renewed {
                Ok(ttl) if ttl > 0 => {
                    *self.stream() = Some(stream);
                    return Ok(true);
                }
                Ok(_) => return Ok(false),
                // It has ended; whether the server has, too, a new one tells.
                Err(error) => debug!(%error, "a keep-alive stream has ended"),
            }
        }
        self.open(connection, what).await
    }

    /// Ends the lease, and with it what stands under it. One that is gone is no error.
    pub(super) async fn revoke(&self, connection: &Connection, what: &str) -> Result<()> {
        drop(self.stream().take());
        let revoke = |session: Session| async move { session.client().lease_revoke(self.id).await.map(drop) };
        let is_gone = |error: &EtcdError| error::is_lease_gone(error).then_some(());
        connection.call_otherwise(what, revoke, is_gone).await
    }

    /// Opens a stream, whose first request is made with it.
    async fn open(&self, connection: &Connection, what: &str) -> Result<bool> {
        let open = |session: Session| async move {
            let (keeper, answers) = session.client().lease_keep_alive(self.id).await?;
            Ok(Some(Stream {
                session,
                keeper,
                answers,
            }))
        };
        let is_gone = |error: &EtcdError| error::is_lease_gone(error).then_some(None);
        let stream = connection.call_otherwise(what, open, is_gone).await?;
        let lives = stream.is_some();
        *self.stream() = stream;
        Ok(lives)
    }

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
        self.stream.lock().expect("no panic while a stream is locked")
    }
}

impl Stream {
    /// The time that the lease has now; 0 if it is gone.
    async fn renew(&mut self) -> Result<i64, EtcdError> {
        self.keeper.keep_alive().await?;
        let ended = || EtcdError::LeaseKeepAliveError("the stream has ended".to_owned());
        let answer = self.answers.message().await?;
        answer.map(|answer| answer.ttl()).ok_or_else(ended)
    }
}
