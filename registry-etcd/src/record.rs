//! How a node is stored in etcd: the only file that knows.
//!
//! A record is Go Micro's JSON of a service with this one node. What Go Micro has no place for stands in the metadata,
//! the node's or its endpoints', where Go Micro passes over it.

use std::{collections::BTreeMap, fmt, str, sync::Arc};

use micro_registry::{
    Error, ErrorKind, Method, Node, Recent, Result, ServiceName,
    bounded::{AtMost, Pairs},
    go_micro::Endpoint,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::keys;

/// The longest record in bytes, written and read: etcd takes 1.5 MiB in a request, in which the key stands as well.
pub(crate) const RECORD_LENGTH_MAX: usize = 1_500_000;
/// The longest endpoint that is read, in bytes; the names in it are much shorter.
const ENDPOINT_LENGTH_MAX: usize = 64 * 1024;
/// The most endpoints that are read, some more than a node may have methods.
const ENDPOINTS_MAX: usize = 8_192;

/// What is written.
#[derive(Serialize)]
struct Service<'a> {
    name: &'a str,
    version: &'a str,
    metadata: (),
    endpoints: Vec<Endpoint>,
    nodes: [Instance<'a>; 1],
}

#[derive(Serialize)]
struct Instance<'a> {
    metadata: BTreeMap<&'a str, &'a str>,
    id: &'a str,
    address: String,
}

/// What is read; any version of Go Micro's may have written it, or another program.
#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredService<'a> {
    name: Option<String>,
    version: Option<String>,
    metadata: Option<Pairs>,
    #[serde(borrow)]
    endpoints: Option<&'a RawValue>,
    nodes: Option<AtMost<1, StoredInstance>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StoredInstance {
    metadata: Option<Pairs>,
    id: Option<String>,
    address: Option<String>,
}

/// The record of `node`.
///
/// # Errors
///
/// [`ErrorKind::InvalidArgument`] when it is too large.
pub(crate) fn encode(node: &Node) -> Result<Vec<u8>> {
    let service = Service {
        name: node.service().as_str(),
        version: node.version(),
        metadata: (),
        endpoints: node
            .methods()
            .iter()
            .map(|method| Endpoint::new(method, node.service()))
            .collect(),
        nodes: [Instance {
            metadata: node.stored_metadata().collect(),
            id: node.id(),
            address: node.address().to_string(),
        }],
    };
    let record = serde_json::to_vec(&service).expect("texts are JSON");
    if record.len() > RECORD_LENGTH_MAX {
        let message = format!(
            "node `{}` of `{}` takes {} bytes in etcd; allowed are {RECORD_LENGTH_MAX}: use less metadata or fewer \
             methods",
            node.id(),
            node.service(),
            record.len(),
        );
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    Ok(record)
}

/// The node of `service` whose record is `record`, and the last part of whose key is `place`.
///
/// # Errors
///
/// [`ErrorKind::Protocol`] or [`ErrorKind::InvalidArgument`] for what is no node, or not this one. No error shows what
/// stands in the record, other than its names and addresses.
pub(crate) fn decode(service: &ServiceName, place: &str, record: &[u8]) -> Result<Node> {
    decode_of(service, place, record, &mut Recent::default())
}

/// As [`decode`], of a service whose `methods` were read of late.
///
/// # Errors
///
/// Those of [`decode`].
pub(crate) fn decode_of(
    service: &ServiceName,
    place: &str,
    record: &[u8],
    methods: &mut Recent<Arc<[Method]>>,
) -> Result<Node> {
    if record.len() > RECORD_LENGTH_MAX {
        return Err(too_long(&record.len().to_string()));
    }
    let text = str::from_utf8(record).map_err(|error| bad(format!("is no text: {error}")))?;
    let stored: StoredService<'_> = serde_json::from_str(text).map_err(|error| bad(reason(&error)))?;
    if stored
        .name
        .as_deref()
        .is_some_and(|name| !name.is_empty() && name != service.as_str())
    {
        return Err(bad("is of another service than its key"));
    }
    let Some(instance) = stored.nodes.and_then(|nodes| nodes.into_iter().next()) else {
        return Err(bad("has no node"));
    };
    let id = instance
        .id
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| place.to_owned());
    // An id stands at its own key, so nobody takes the place of another.
    if !keys::is_place_of(place, &id) {
        return Err(bad("is of another node than its key"));
    }
    let Some(address) = instance.address else {
        return Err(bad("has no address"));
    };
    let node =
        Node::builder(service.clone(), id, address.parse()?).version(stored.version.unwrap_or_default());
    let pairs = [stored.metadata, instance.metadata]
        .into_iter()
        .flatten()
        .flatten();
    let endpoints = stored.endpoints.map_or("null", RawValue::get);
    let methods = methods.get_or_read(endpoints, || read_methods(endpoints, service))?;
    pairs
        .fold(node, |node, (key, value)| node.metadata(key, value))
        .methods(methods)
        .build()
}

/// What is said of a record that has `length` bytes.
pub(crate) fn too_long(length: &str) -> Error {
    bad(format!("has {length} bytes; read are {RECORD_LENGTH_MAX}"))
}

/// What is said of a record at a key that no node can have.
pub(crate) fn misplaced() -> Error {
    bad("stands where no node can stand")
}

/// The methods of a list of endpoints.
fn read_methods(endpoints: &str, service: &ServiceName) -> Result<Arc<[Method]>> {
    let endpoints: Option<AtMost<ENDPOINTS_MAX, &RawValue>> =
        serde_json::from_str(endpoints).map_err(|error| bad(format!("has endpoints: {}", reason(&error))))?;
    let endpoints = endpoints.into_iter().flatten();
    Ok(endpoints
        .filter_map(|endpoint| method(endpoint, service))
        .collect())
}

/// The method of an endpoint; a node can be called whose methods cannot be read.
fn method(endpoint: &RawValue, service: &ServiceName) -> Option<Method> {
    let text = endpoint.get();
    if text.len() > ENDPOINT_LENGTH_MAX {
        return None;
    }
    serde_json::from_str::<Endpoint>(text).ok()?.method(service)
}

fn bad(reason: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Protocol, format!("the record {reason}"))
}

/// What is wrong and where. What stands there is nobody's business: serde's own words may quote it.
fn reason(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "is no service with one node",
        serde_json::error::Category::Eof => "ends too early",
        serde_json::error::Category::Io | serde_json::error::Category::Syntax => "is no JSON",
    };
    format!("{what}: line {}, column {}", error.line(), error.column())
}

#[cfg(test)]
mod documented;
#[cfg(test)]
mod tests;
