//! How a node is stored in a file: the only file that knows.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use micro_registry::{Error, ErrorKind, Node, Result, ServiceName, go_micro::Endpoint};
use serde::{Deserialize, Serialize};

/// The longest record in bytes; nothing longer is read.
pub(crate) const LENGTH_MAX: usize = 1024 * 1024;
/// The longest file name in bytes, as every file system has room for.
const FILE_NAME_LENGTH_MAX: usize = 255;
const EXTENSION: &str = ".json";

#[derive(Deserialize, Serialize)]
struct Record {
    service: String,
    id: String,
    #[serde(default)]
    version: String,
    address: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    methods: Vec<Endpoint>,
    /// When the node goes unless it is renewed, in milliseconds since 1970.
    expires_ms: u64,
}

/// The text of the record of `node`, which lives for `ttl` from now.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when the node is too large.
pub(crate) fn encode(node: &Node, ttl: Duration) -> Result<Vec<u8>> {
    let pairs = node.stored_metadata();
    let record = Record {
        service: node.service().to_string(),
        id: node.id().to_owned(),
        version: node.version().to_owned(),
        address: node.address().to_string(),
        metadata: pairs.map(|(key, value)| (key.into(), value.into())).collect(),
        methods: node
            .methods()
            .iter()
            .map(|method| Endpoint::new(method, node.service()))
            .collect(),
        expires_ms: now_ms().saturating_add(milliseconds(ttl)),
    };
    let mut text = serde_json::to_vec_pretty(&record).expect("texts and numbers are JSON");
    text.push(b'\n');
    if text.len() > LENGTH_MAX {
        let (id, length) = (node.id(), text.len());
        let message = format!("node `{id}` takes {length} bytes in a file; allowed are {LENGTH_MAX}");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(text)
}

/// The node in `text`, or `None` if it has run out. Building the types is the check of what others wrote.
///
/// # Errors
///
/// For what is no node.
pub(crate) fn decode(text: &[u8]) -> Result<Option<Node>> {
    if text.len() > LENGTH_MAX {
        let message = format!("the file has more than {LENGTH_MAX} bytes");
        return Err(Error::new(ErrorKind::Protocol, message));
    }
    let record: Record = serde_json::from_slice(text)
        .map_err(|error| Error::new(ErrorKind::Protocol, "the file is no record").with_source(error))?;
    let service: ServiceName = record.service.parse()?;
    let methods: Vec<_> = record
        .methods
        .iter()
        .filter_map(|method| method.method(&service))
        .collect();
    let mut node = Node::builder(service, record.id, record.address.parse()?)
        .version(record.version)
        .methods(methods);
    for (key, value) in record.metadata {
        node = node.metadata(key, value);
    }
    let node = node.build()?;
    Ok((record.expires_ms > now_ms()).then_some(node))
}

/// The name of the file of the node `id`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] for an id that no file system has room for.
pub(crate) fn file_name(id: &str) -> Result<String> {
    let name = escaped(id) + EXTENSION;
    if name.len() > FILE_NAME_LENGTH_MAX {
        let message = format!(
            "node id {id:?} is a file name of {} bytes; allowed are {FILE_NAME_LENGTH_MAX}",
            name.len()
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(name)
}

/// `text` as part of a path on any file system: those that tell no case apart, too, and no name is hidden.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut name, byte| {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
                b'.' if !name.is_empty() => name.push('.'),
                _ => write!(name, "%{byte:02x}").expect("a string takes every text"),
            }
            name
        })
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, milliseconds)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
