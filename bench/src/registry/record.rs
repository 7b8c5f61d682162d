//! The records of Consul and etcd, decoded without distrust: all that they tell of a node, in the types of the standard library.

use std::{borrow::Cow, collections::HashMap, str};

use flate2::{Decompress, FlushDecompress};
use serde::Deserialize;

use crate::Result;

/// The longest fact in bytes; those of the benchmark are shorter.
const FACT_LENGTH_MAX: usize = 4096;

/// A node, as whoever chooses and calls one needs it.
#[expect(
    dead_code,
    reason = "it is kept, as by a client that calls; nobody is called here"
)]
pub(super) struct Node {
    host: String,
    port: u16,
    version: String,
    metadata: HashMap<String, String>,
    methods: Vec<Method>,
}

/// A method, as Go Micro writes it.
#[expect(
    dead_code,
    reason = "it is kept, as by a client that calls; nobody is called here"
)]
#[derive(Deserialize)]
pub(super) struct Method {
    name: String,
    request: Option<Message>,
    response: Option<Message>,
    metadata: Option<HashMap<String, String>>,
}

#[expect(
    dead_code,
    reason = "it is kept, as by a client that calls; nobody is called here"
)]
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
}

/// A node as Consul lists it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    service: Service<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service<'a> {
    #[serde(rename = "ID")]
    id: String,
    address: String,
    port: u16,
    #[serde(borrow)]
    tags: Vec<&'a str>,
    meta: HashMap<String, String>,
}

/// A record as etcd has it.
#[derive(Deserialize)]
pub(super) struct Record<'a> {
    version: String,
    endpoints: Vec<Method>,
    #[serde(borrow)]
    nodes: [RecordNode<'a>; 1],
}

#[derive(Deserialize)]
struct RecordNode<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
    metadata: HashMap<String, String>,
}

impl Node {
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

/// Unpacks the tags of a list; what it needs for that is made once.
pub(super) struct Unpacker {
    inflater: Decompress,
    packed: Vec<u8>,
    fact: Vec<u8>,
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self {
            inflater: Decompress::new(true),
            packed: Vec::new(),
            fact: Vec::with_capacity(FACT_LENGTH_MAX),
        }
    }

    /// What stands compressed in `hex`.
    fn unpack(&mut self, hex: &str) -> Result<&[u8]> {
        let digit = |digit: u8| char::from(digit).to_digit(16).ok_or("no hexadecimal digit");
        self.packed.clear();
        for pair in hex.as_bytes().chunks_exact(2) {
            self.packed
                .push(u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?)?);
        }
        self.fact.clear();
        self.inflater.reset(true);
        self.inflater
            .decompress_vec(&self.packed, &mut self.fact, FlushDecompress::Finish)?;
        Ok(&self.fact)
    }
}

impl Entry<'_> {
    /// The node and Consul's id of it. Its metadata stand in Consul's own, the version and the methods in tags alone.
    pub(super) fn node(self, unpacker: &mut Unpacker) -> Result<(String, Node)> {
        let service = self.service;
        let (mut version, mut methods) = (String::new(), Vec::with_capacity(service.tags.len()));
        for tag in service.tags {
            match tag.split_at_checked(2) {
                Some(("v-", fact)) => version = str::from_utf8(unpacker.unpack(fact)?)?.to_owned(),
                Some(("e-", fact)) => methods.push(serde_json::from_slice(unpacker.unpack(fact)?)?),
                _ => {}
            }
        }
        let node = Node {
            host: service.address,
            port: service.port,
            version,
            metadata: service.meta,
            methods,
        };
        Ok((service.id, node))
    }
}

impl Record<'_> {
    pub(super) fn node(self) -> Result<Node> {
        let [node] = self.nodes;
        let (host, port) = node.address.rsplit_once(':').ok_or("an address without a port")?;
        Ok(Node {
            host: host.to_owned(),
            port: port.parse()?,
            version: self.version,
            metadata: node.metadata,
            methods: self.endpoints,
        })
    }
}
