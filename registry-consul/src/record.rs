//! How a node is stored in Consul: the only file that knows.
//!
//! The facts stand in tags, as Go Micro writes them, and the metadata that Consul's own has room for stands there, too.
//! Consul tells ids apart by no case, per agent rather than per service, and decodes them in URLs once or twice by
//! version; so its id of a node is made of the service and the id in small letters, digits and a few marks.

mod stored;
mod tag;

use std::{collections::BTreeMap, fmt::Write as _, iter, time::Duration};

use bytes::Bytes;
use micro_registry::{Error, ErrorKind, Node, Result, ServiceName, go_micro::Endpoint};
use serde::Serialize;

pub(crate) use self::stored::{Entry, Identity, Place, Readings, Stored};
use self::tag::{FACTS_LENGTH_MAX, Kind};
use crate::check::{CheckSettings, Definition};

/// The longest record that is read, in bytes; it has the tags twice.
pub(crate) const ENTRY_LENGTH_MAX: usize = 2 * 1024 * 1024;
/// The longest registration in bytes: what Raft, which carries it to every server, suggests for an entry.
const REGISTRATION_LENGTH_MAX: usize = 512 * 1024;
/// The metadata key of the node's id, which Consul's id is made of. Only records of ours have it.
const ID_KEY: &str = "micro-id";
/// The most pairs of metadata that Consul takes.
const META_PAIRS_MAX: usize = 64;
/// The longest key of metadata that Consul takes, in bytes.
const META_KEY_LENGTH_MAX: usize = 128;
/// The longest value of metadata that Consul takes, in bytes.
const META_VALUE_LENGTH_MAX: usize = 512;
/// Keys that begin so are Consul's own.
const META_KEY_RESERVED: &str = "consul-";

/// What a registration has beyond its node.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extras {
    /// Tags of the user's.
    pub(crate) tags: Vec<String>,
    pub(crate) connect_native: bool,
    pub(crate) check: CheckSettings,
}

/// What is sent to register a node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Registration<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    address: String,
    port: u16,
    tags: Vec<String>,
    meta: BTreeMap<&'a str, &'a str>,
    check: Definition,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<Connect>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Connect {
    native: bool,
}

/// Consul's id of the node `id` of `service`: the id itself where it is `<service>-<something>`, as Go Micro has them.
///
/// No two nodes have the same: all of it before the last `-`, or before the `:`, is the service.
pub(crate) fn consul_id(service: &ServiceName, id: &str) -> String {
    let (service, id) = (escaped(service.as_str()), escaped(id));
    match id.rsplit_once('-') {
        Some((before, _)) if before == service => id,
        _ => format!("{service}:{id}"),
    }
}

/// The id of the check by which an agent knows a service of this id.
pub(crate) fn check_id(consul_id: &str) -> String {
    format!("service:{consul_id}")
}

/// What is sent to register `node`, to be renewed within `ttl`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when the node is too large.
pub(crate) fn registration(node: &Node, ttl: Duration, extras: &Extras) -> Result<Bytes> {
    let id = consul_id(node.service(), node.id());
    let registration = Registration {
        id: &id,
        name: node.service().as_str(),
        address: node.address().host().to_string(),
        port: node.address().port(),
        tags: tags(node, extras)?,
        meta: meta(node),
        check: extras.check.definition(node, ttl),
        connect: extras.connect_native.then_some(Connect { native: true }),
    };
    let json = serde_json::to_vec(&registration).expect("texts and numbers are JSON");
    if json.len() > REGISTRATION_LENGTH_MAX {
        return Err(too_large(node, json.len(), REGISTRATION_LENGTH_MAX));
    }
    Ok(json.into())
}

/// Refuses a tag of a user's that readers would take for a fact.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`].
pub(crate) fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.contains(char::is_control) || tag::is_reserved(tag) {
        let message = format!(
            "tag {tag:?} is not allowed: a tag is not empty, has no control characters and does not begin with `v`, \
             `t` or `e` and then `-` or `=`, as the tags of Go Micro do"
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(())
}

fn tags(node: &Node, extras: &Extras) -> Result<Vec<String>> {
    let mut facts = Vec::new();
    if !node.version().is_empty() {
        facts.push((Kind::Version, node.version().as_bytes().to_vec()));
    }
    for (key, value) in node.stored_metadata() {
        facts.push((Kind::Metadata, json(&BTreeMap::from([(key, value)]))));
    }
    for method in node.methods() {
        facts.push((Kind::Endpoint, json(&Endpoint::new(method, node.service()))));
    }
    let length = facts.iter().map(|(_, payload)| payload.len()).sum();
    if length > FACTS_LENGTH_MAX {
        return Err(too_large(node, length, FACTS_LENGTH_MAX));
    }
    let facts = facts.iter().map(|(kind, payload)| tag::write(*kind, payload));
    Ok(facts.chain(extras.tags.iter().cloned()).collect())
}

/// As much of the metadata as Consul has room for, for its own tools; readers of ours find all of it in the tags.
fn meta(node: &Node) -> BTreeMap<&str, &str> {
    let pairs = node.stored_metadata().filter(|(key, _)| *key != ID_KEY);
    let fitting = pairs.filter(|(key, value)| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        key.len() <= META_KEY_LENGTH_MAX
            && value.len() <= META_VALUE_LENGTH_MAX
            && key.bytes().all(plain)
            && !key.starts_with(META_KEY_RESERVED)
    });
    iter::once((ID_KEY, node.id()))
        .chain(fitting)
        .take(META_PAIRS_MAX)
        .collect()
}

/// `text` in small letters, digits, `-`, `.` and `_`; every other byte is `~` and its two digits.
fn escaped(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut id, byte| {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => id.push(char::from(byte)),
                _ => write!(id, "~{byte:02x}").expect("a string takes every text"),
            }
            id
        })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts are JSON")
}

fn too_large(node: &Node, length: usize, most: usize) -> Error {
    let message = format!(
        "node `{}` of `{}` takes {length} bytes in Consul; allowed are {most}: use less metadata or fewer methods",
        node.id(),
        node.service(),
    );
    Error::new(ErrorKind::InvalidArgument, message)
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
