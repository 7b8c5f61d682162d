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

/// Why a message is none.
#[derive(Debug)]
enum Refusal {
    /// The server ended the watch.
    Ended(Status),
    /// Its protocol does not allow it.
    Nonsense(&'static str),
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
            let client = session.watch_client();
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

    fn refused(&self, refusal: Refusal) -> Error {
        match refusal {
            Refusal::Ended(status) => self.failed(EtcdError::GRpcStatus(status)),
            Refusal::Nonsense(cause) => {
                Error::new(ErrorKind::Protocol, format!("{} in etcd", self.what)).with_source(cause)
            }
        }
    }
}

impl Stream for EtcdStream {
    async fn message(&mut self) -> Result<Message> {
        match self.responses.message().await {
            Ok(Some(response)) => read(response.0).map_err(|refusal| self.refused(refusal)),
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

fn read(response: PbWatchResponse) -> Result<Message, Refusal> {
    let Some(header) = &response.header else {
        return Err(Refusal::Nonsense("a message has no header"));
    };
    let at = Position {
        revision: header.revision,
        term: header.raft_term,
    };
    let content = if response.compact_revision > 0 {
        Content::Compacted
    } else if response.canceled {
        return Err(Refusal::Ended(reason(response.cancel_reason)));
    } else if response.created {
        Content::Created
    } else if response.events.is_empty() && !response.fragment {
        Content::Progress
    } else {
        let events = response.events.into_iter().map(event).collect::<Option<_>>();
        Content::Events {
            events: events.ok_or(Refusal::Nonsense(
                "a change is of no key, or of no kind that is known",
            ))?,
            has_more: response.fragment,
        }
    };
    Ok(Message { at, content })
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

#[cfg(test)]
mod tests {
    use etcd_client::proto::{PbKeyValue, PbResponseHeader};
    use tonic::Code;

    use super::*;

    fn response() -> PbWatchResponse {
        PbWatchResponse {
            header: Some(PbResponseHeader {
                revision: 7,
                raft_term: 2,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn change(kind: i32) -> PbEvent {
        let kv = PbKeyValue {
            key: b"a".into(),
            mod_revision: 5,
            value: b"1".into(),
            ..Default::default()
        };
        PbEvent {
            r#type: kind,
            kv: Some(kv),
            prev_kv: None,
        }
    }

    #[test]
    fn changes_are_read_with_their_revision_and_whether_more_comes() {
        let message = read(PbWatchResponse {
            events: vec![change(PUT), change(DELETE)],
            fragment: true,
            ..response()
        });
        let Message { at, content } = message.unwrap();
        assert_eq!((at.revision, at.term), (7, 2));
        let Content::Events {
            events,
            has_more: true,
        } = content
        else {
            panic!("{content:?}");
        };
        let records: Vec<_> = events
            .iter()
            .map(|event| (event.revision, event.record.as_deref()))
            .collect();
        assert_eq!(records, [(5, Some(&b"1"[..])), (5, None)]);
    }

    #[test]
    fn what_the_protocol_does_not_allow_is_refused_and_makes_nothing_panic() {
        let of_no_key = PbEvent {
            kv: None,
            ..change(PUT)
        };
        let headless = PbWatchResponse::default();
        let changed = |event| PbWatchResponse {
            events: vec![change(PUT), event],
            ..response()
        };
        for bad in [
            headless,
            changed(of_no_key),
            changed(change(2)),
            changed(change(-1)),
        ] {
            assert!(matches!(read(bad), Err(Refusal::Nonsense(_))));
        }
    }

    #[test]
    fn the_end_of_a_watch_means_what_its_reason_says() {
        for (reason, created, expected) in [
            (
                "rpc error: code = PermissionDenied desc = etcdserver: permission denied",
                true,
                Code::PermissionDenied,
            ),
            ("etcdserver: no leader", false, Code::Unavailable),
            ("", false, Code::Unavailable),
        ] {
            let ended = read(PbWatchResponse {
                canceled: true,
                created,
                cancel_reason: reason.to_owned(),
                ..response()
            });
            let Err(Refusal::Ended(status)) = ended else {
                panic!("{ended:?}");
            };
            assert_eq!((status.code(), status.message()), (expected, reason));
        }
        let forgotten = read(PbWatchResponse {
            canceled: true,
            compact_revision: 9,
            ..response()
        });
        assert!(matches!(forgotten.unwrap().content, Content::Compacted));
    }

    #[test]
    fn what_says_nothing_is_a_sign_of_life() {
        let created = PbWatchResponse {
            created: true,
            ..response()
        };
        assert!(matches!(read(created).unwrap().content, Content::Created));
        assert!(matches!(read(response()).unwrap().content, Content::Progress));
    }
}
