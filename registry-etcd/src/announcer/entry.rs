//! The key of one node: looked at, put and deleted only as it was last seen.

use etcd_client::{
    Client, Compare, CompareOp, Error as EtcdError, KeyValue, PutOptions, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use micro_registry::{Error, ErrorKind, Node, Result};

use crate::{
    connection::{Connection, Session},
    error, keys, record,
};

/// A key, and what is being done with it.
pub(super) struct Entry<'a> {
    connection: &'a Connection,
    pub(super) key: String,
    pub(super) what: String,
}

/// What stands at the key.
pub(super) struct Found {
    value: Vec<u8>,
    /// Under which it stands; 0 if it stays for ever.
    pub(super) lease: i64,
    pub(super) revision: i64,
}

/// What became of an attempt to put something.
pub(super) enum Put {
    /// It stands there since this revision.
    Done(i64),
    LeaseGone,
    /// The key is not as it was last seen.
    Changed(Option<Found>),
}

impl<'a> Entry<'a> {
    pub(super) fn new(connection: &'a Connection, key: String, what: String) -> Self {
        Self {
            connection,
            key,
            what,
        }
    }

    pub(super) async fn find(&self) -> Result<Option<Found>> {
        let get = |mut client: Client| async move { client.get(self.key.clone(), None).await };
        let mut answer = self.connection.call(&self.what, get).await?;
        Ok(answer.take_kvs().pop().map(Found::from))
    }

    /// What stands at the key, unless it is what was put at `revision` under `lease`.
    pub(super) async fn changed_since(&self, revision: i64, lease: i64) -> Result<Option<Option<Found>>> {
        let lease = Compare::lease(self.key.clone(), CompareOp::Equal, lease);
        let txn = self.if_so([self.stands_since(revision), lease], []);
        let answer = self.transact(txn).await?;
        Ok((!answer.succeeded()).then(|| found(&answer)))
    }

    pub(super) async fn put(&self, value: &[u8], lease: i64, revision: i64) -> Result<Put> {
        let put = TxnOp::put(self.key.clone(), value, Some(PutOptions::new().with_lease(lease)));
        let txn = self.if_so([self.stands_since(revision)], [put]);
        let put = |session: Session| {
            let put = transact(session.client(), txn.clone());
            async move { put.await.map(Some) }
        };
        let is_gone = |error: &EtcdError| error::is_lease_gone(error).then_some(None);
        let answer = self.connection.call_otherwise(&self.what, put, is_gone).await?;
        let Some(answer) = answer else {
            return Ok(Put::LeaseGone);
        };
        if !answer.succeeded() {
            return Ok(Put::Changed(found(&answer)));
        }
        let revision = answer.header().map(etcd_client::ResponseHeader::revision);
        revision
            .map(Put::Done)
            .ok_or_else(|| self.nonsense("an answer without its revision"))
    }

    /// Deletes what was found; answers whether it still stood there.
    pub(super) async fn delete(&self, found: &Found) -> Result<bool> {
        let delete = TxnOp::delete(self.key.clone(), None);
        let txn = self.if_so([self.stands_since(found.revision)], [delete]);
        Ok(self.transact(txn).await?.succeeded())
    }

    /// The boot that `found`, at the key of `node`, says it is of, if it is a node.
    pub(super) fn boot_of(&self, found: &Found, node: &Node) -> Option<String> {
        let stored = record::decode(node.service(), &keys::place(node.id()), &found.value).ok()?;
        Some(stored.boot().to_owned())
    }

    pub(super) fn contended(&self) -> Error {
        let message = format!("{} in etcd", self.what);
        Error::new(ErrorKind::Unavailable, message).with_source("others change its key all the time")
    }

    /// A transaction of `operations` if all of `compares` hold; else it answers what stands at the key.
    fn if_so<const C: usize, const O: usize>(&self, compares: [Compare; C], operations: [TxnOp; O]) -> Txn {
        Txn::new()
            .when(compares)
            .and_then(operations)
            .or_else([TxnOp::get(self.key.clone(), None)])
    }

    fn stands_since(&self, revision: i64) -> Compare {
        // That of a key which is not there is 0.
        Compare::mod_revision(self.key.clone(), CompareOp::Equal, revision)
    }

    async fn transact(&self, txn: Txn) -> Result<TxnResponse> {
        self.connection
            .call(&self.what, |client| transact(client, txn.clone()))
            .await
    }

    fn nonsense(&self, reason: &'static str) -> Error {
        let message = format!("{} in etcd", self.what);
        Error::new(ErrorKind::Protocol, message).with_source(reason)
    }
}

impl From<KeyValue> for Found {
    fn from(pair: KeyValue) -> Self {
        Self {
            lease: pair.lease(),
            revision: pair.mod_revision(),
            value: pair.into_key_value().1,
        }
    }
}

async fn transact(mut client: Client, txn: Txn) -> Result<TxnResponse, EtcdError> {
    client.txn(txn).await
}

/// What stands at the key, out of the answer to a transaction that did not find it as it was.
fn found(answer: &TxnResponse) -> Option<Found> {
    let answers = answer.op_responses();
    let got = answers.into_iter().find_map(|answer| match answer {
        TxnOpResponse::Get(mut got) => got.take_kvs().pop(),
        _ => None,
    });
    got.map(Found::from)
}
