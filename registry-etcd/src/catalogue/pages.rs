//! A range of keys, read page by page as it was at one moment.

use std::time::Duration;

use etcd_client::{Error as EtcdError, GetOptions, GetResponse, KeyValue};
use micro_registry::{Error, ErrorKind, Result};
use tokio::time;
use tracing::debug;

use super::MESSAGE_LENGTH_MAX;
use crate::{
    connection::{Connection, Session},
    error,
    follower::Position,
    keys,
};

/// How long connecting may take, of which nothing goes off the times below.
const CONNECTED_WITHIN: Duration = Duration::from_secs(8);
/// How long the servers' agreement on what stands in etcd is waited for; then what one of them knows has to do. Without
/// quorum they say nothing for 7 s.
const AGREED_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer of one server is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How many records are asked for at once.
const RECORDS_PER_PAGE: i64 = 500;
/// How many keys are asked for at once.
const KEYS_PER_PAGE: i64 = 5_000;

/// Reads what begins with a prefix.
pub(super) struct Pages<'a> {
    connection: &'a Connection,
    what: &'a str,
    /// The first key that was not read yet; `None` after the last page.
    from: Option<Vec<u8>>,
    end: Vec<u8>,
    has_records: bool,
    limit: i64,
    limit_max: i64,
    /// Where the first page was, and so are all.
    at: Option<Position>,
    /// Whether the servers did not agree in time.
    is_alone: bool,
}

/// A page, or what there is instead.
pub(super) enum Page {
    Read(Vec<KeyValue>),
    /// The record at this key is longer than a message may be.
    TooLong(Vec<u8>),
    /// The moment of the first page is not known any more, or not yet.
    Forgotten,
}

/// What a server answers.
enum Answer {
    Read(GetResponse),
    TooLong,
    Forgotten,
}

impl<'a> Pages<'a> {
    /// Reads keys and records.
    pub(super) fn of_records(connection: &'a Connection, what: &'a str, prefix: &str) -> Self {
        Self::new(connection, what, prefix, true, RECORDS_PER_PAGE)
    }

    /// Reads keys alone.
    pub(super) fn of_keys(connection: &'a Connection, what: &'a str, prefix: &str) -> Self {
        Self::new(connection, what, prefix, false, KEYS_PER_PAGE)
    }

    fn new(connection: &'a Connection, what: &'a str, prefix: &str, has_records: bool, limit: i64) -> Self {
        Self {
            connection,
            what,
            from: Some(prefix.as_bytes().to_vec()),
            end: keys::behind(prefix),
            has_records,
            limit,
            limit_max: limit,
            at: None,
            is_alone: false,
        }
    }

    /// As of when it was read.
    pub(super) fn at(&self) -> Position {
        self.at.unwrap_or_default()
    }

    /// Passes over the keys before `key`, if there are more.
    pub(super) fn skip_to(&mut self, key: Vec<u8>) {
        self.from = self
            .from
            .take()
            .filter(|_| key < self.end)
            .map(|from| from.max(key));
    }

    /// The next page; `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when no server answers in time, and what etcd's own error means.
    pub(super) async fn next(&mut self) -> Result<Option<Page>> {
        while let Some(from) = self.from.clone() {
            match self.ask(&from).await? {
                Answer::Read(mut response) => {
                    self.note_position(&response)?;
                    let keys = response.take_kvs();
                    self.from = match (keys.last(), response.more()) {
                        (_, false) => None,
                        (Some(last), true) => Some(behind(last.key())),
                        (None, true) => {
                            return Err(self.error(ErrorKind::Protocol, "there is more behind nothing"));
                        }
                    };
                    self.limit = self.limit.saturating_mul(2).min(self.limit_max);
                    return Ok(Some(Page::Read(keys)));
                }
                Answer::TooLong if self.limit > 1 => self.limit /= 2,
                Answer::TooLong => return self.pass_over(&from).await,
                Answer::Forgotten => return Ok(Some(Page::Forgotten)),
            }
        }
        Ok(None)
    }

    /// Passes over the record that is too long, the next one.
    async fn pass_over(&mut self, from: &[u8]) -> Result<Option<Page>> {
        let options = self.options().with_keys_only().with_serializable();
        match self.send(from, options, ANSWER_WITHIN).await? {
            Answer::Read(response) => {
                self.note_position(&response)?;
                let key = response.kvs().first().map(|kv| kv.key().to_vec());
                self.from = key.as_deref().map(behind);
                Ok(key.map(Page::TooLong))
            }
            Answer::TooLong => Err(self.error(ErrorKind::Protocol, "a key is longer than a message may be")),
            Answer::Forgotten => Ok(Some(Page::Forgotten)),
        }
    }

    async fn ask(&mut self, from: &[u8]) -> Result<Answer> {
        let mut options = self.options();
        if !self.has_records {
            options = options.with_keys_only();
        }
        if self.at.is_none() && !self.is_alone {
            let connected = self.connection.session(self.what);
            time::timeout(CONNECTED_WITHIN, connected)
                .await
                .unwrap_or_else(|_| Err(self.late(CONNECTED_WITHIN)))?;
            match self.send(from, options.clone(), AGREED_WITHIN).await {
                Err(error) if error.kind() == ErrorKind::Unavailable => {
                    debug!(what = self.what, %error, "the servers do not agree in time; takes what one knows");
                    self.is_alone = true;
                }
                answer => return answer,
            }
        }
        // What stood there at a moment that a server knows, it can say alone.
        self.send(from, options.with_serializable(), ANSWER_WITHIN).await
    }

    fn options(&self) -> GetOptions {
        let options = GetOptions::new()
            .with_range(self.end.clone())
            .with_limit(self.limit);
        options.with_revision(self.at.map_or(0, |at| at.revision))
    }

    async fn send(&self, from: &[u8], options: GetOptions, within: Duration) -> Result<Answer> {
        let call = |session: Session| {
            let (from, options) = (from.to_vec(), options.clone());
            let client = session.kv_client();
            let mut client = client.max_decoding_message_size(MESSAGE_LENGTH_MAX);
            async move { client.get(from, Some(options)).await.map(Answer::Read) }
        };
        let answer = self.connection.call_otherwise(self.what, call, otherwise);
        let late = |_| Err(self.late(within));
        time::timeout(within, answer).await.unwrap_or_else(late)
    }

    fn note_position(&mut self, response: &GetResponse) -> Result<()> {
        let Some(header) = response.header() else {
            return Err(self.error(ErrorKind::Protocol, "the answer has no header"));
        };
        // The header of a later page shows when that one was read.
        self.at.get_or_insert(Position {
            revision: header.revision(),
            term: header.raft_term(),
        });
        Ok(())
    }

    fn late(&self, within: Duration) -> Error {
        self.error(ErrorKind::Unavailable, &format!("no answer within {within:?}"))
    }

    fn error(&self, kind: ErrorKind, cause: &str) -> Error {
        Error::new(kind, format!("{} in etcd", self.what)).with_source(cause.to_owned())
    }
}

fn otherwise(error: &EtcdError) -> Option<Answer> {
    if error::is_too_long(error) {
        return Some(Answer::TooLong);
    }
    error::is_forgotten(error).then_some(Answer::Forgotten)
}

/// The first key behind `key`.
fn behind(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}
