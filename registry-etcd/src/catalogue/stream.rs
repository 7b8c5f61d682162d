//! A watch of etcd's, made of messages whose parts are checked.

use std::sync::Arc;

use etcd_client::{
    Error as EtcdError, WatchOptions, WatchRequestSender, WatchResponseStream,
    proto::{PbEvent, PbWatchResponse},
};
use micro_registry::{Error, ErrorKind, Result};
use tonic::Status;

use super::MESSAGE_LENGTH_MAX;
use crate::{
    connection::{Connection, Session},
    follower::{Content, Event, Message, Position, Stream},
    nodes::Nodes,
};

/// The kinds of an event by their numbers.
const PUT: i32 = 0;
const DELETE: i32 = 1;

/// What changes below a prefix.
#[derive(Debug)]
pub(crate) struct EtcdStream {
    connection: Arc<Connection>,
    session: Session,
    what: String,
    requests: WatchRequestSender,
    responses: WatchResponseStream,
}

impl EtcdStream {
    /// Asks for what changes of `nodes` from revision `from` on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when no server can be reached or answers in time, and what etcd's own error means.
    pub(super) async fn open(connection: Arc<Connection>, nodes: &Nodes, from: i64) -> Result<Self> {
        let what = format!("follow `{}`", nodes.service());
        // A deleted node is known by its key, so what stood there before is not asked for.
        let options = WatchOptions::new()
            .with_prefix()
            .with_start_revision(from)
            .with_fragment()
            .with_progress_notify();
        let call = |session: Session| {
            let (prefix, options) = (nodes.prefix().to_owned(), options.clone());
            let client = session.client().watch_client();
            let mut client = client.max_decoding_message_size(MESSAGE_LENGTH_MAX);
            async move { Ok((session, client.watch(prefix, Some(options)).await?)) }
        };
        let (session, stream) = connection.call_otherwise(&what, call, |_| None).await?;
        let (requests, responses) = stream.split();
        Ok(Self {
            connection,
            session,
            what,
            requests,
            responses,
        })
    }

    fn failed(&self, error: EtcdError) -> Error {
        self.connection.failed(&self.session, &self.what, error)
    }

    fn nonsense(&self, cause: &str) -> Error {
        Error::new(ErrorKind::Protocol, format!("{} in etcd", self.what)).with_source(cause.to_owned())
    }

    fn read(&self, response: PbWatchResponse) -> Result<Message> {
        let Some(header) = &response.header else {
            return Err(self.nonsense("a message has no header"));
        };
        let at = Position {
            revision: header.revision,
            term: header.raft_term,
        };
        let content = if response.compact_revision > 0 {
            Content::Compacted
        } else if response.canceled {
            return Err(self.failed(EtcdError::GRpcStatus(reason(response.cancel_reason))));
        } else if response.created {
            Content::Created
        } else if response.events.is_empty() && !response.fragment {
            Content::Progress
        } else {
            let events = response.events.into_iter().map(event).collect::<Option<_>>();
            Content::Events {
                events: events
                    .ok_or_else(|| self.nonsense("a change is of no key, or of no kind that is known"))?,
                has_more: response.fragment,
            }
        };
        Ok(Message { at, content })
    }
}

impl Stream for EtcdStream {
    async fn message(&mut self) -> Result<Message> {
        match self.responses.message().await {
            Ok(Some(response)) => self.read(response.0),
            Ok(None) => Err(self.failed(EtcdError::WatchError("the server ended it".to_owned()))),
            Err(error) => Err(self.failed(error)),
        }
    }

    async fn ask(&mut self) -> Result<()> {
        let asked = self.requests.request_progress().await;
        asked.map_err(|error| self.failed(error))
    }

    fn given_up(&self, reason: &str) -> Error {
        self.failed(EtcdError::WatchError(reason.to_owned()))
    }
}

/// Why a server ends a watch; it says so in words.
fn reason(words: String) -> Status {
    if words.contains("permission denied") {
        return Status::permission_denied(words);
    }
    Status::unavailable(words)
}

fn event(event: PbEvent) -> Option<Event> {
    let kv = event.kv?;
    let record = match event.r#type {
        PUT => Some(kv.value),
        DELETE => None,
        _ => return None,
    };
    Some(Event {
        key: kv.key,
        revision: kv.mod_revision,
        record,
    })
}
