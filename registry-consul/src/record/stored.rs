//! What stands in Consul, made a node of. Nothing in it is trusted: another program may have written it.

use std::{borrow::Cow, str, sync::Arc};

use micro_registry::{
    Address, BOOT_KEY, Error, ErrorKind, Host, Method, Node, NodeBuilder, Recent, Result, ServiceName,
    bounded::{AtMost, Pairs},
    go_micro::Endpoint,
};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ENTRY_LENGTH_MAX, ID_KEY,
    tag::{self, FACTS_LENGTH_MAX, Kind},
};

/// The metadata key under which tools that know no Go Micro write a version.
const VERSION_KEY: &str = "version";
/// The most tags that are read: one for each method and each pair of metadata that a node may have, and some more.
const TAGS_MAX: usize = 8_192;
/// The longest method that is read, in bytes; the names in it are much shorter.
const METHOD_LENGTH_MAX: usize = 64 * 1024;

/// A service of an agent's, as the catalogue lists it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) node: Place,
    pub(crate) service: Stored,
}

/// Where a service stands: what Consul calls a node, which is an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
pub(crate) struct Place {
    #[serde(default, rename = "Node")]
    name: String,
    #[serde(default, rename = "Address")]
    address: String,
}

/// As much of a record as says which it is; the rest may be whatever it likes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Identity<'a> {
    #[serde(borrow)]
    node: IdentityOf<'a>,
    #[serde(borrow)]
    service: IdentityOf<'a>,
}

/// Of a record that may be too long to be read, so nothing is copied that need not be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IdentityOf<'a> {
    #[serde(rename = "Node", borrow)]
    agent: Cow<'a, str>,
    #[serde(rename = "ID", borrow)]
    id: Cow<'a, str>,
}

/// A service of an agent's.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Stored {
    #[serde(rename = "ID")]
    id: String,
    service: String,
    address: String,
    port: i64,
    tags: Option<AtMost<TAGS_MAX, String>>,
    meta: Option<Pairs>,
    /// Grows with every change of the record; an agent does not tell it.
    pub(crate) modify_index: u64,
    /// Grows with every record that is new; an agent does not tell it.
    pub(crate) create_index: u64,
}

/// What was made of the tags that were read last, of the records of one service.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    methods: Recent<Methods>,
    others: Recent<Facts>,
}

/// What the tags of a record say.
#[derive(Clone, Debug, Default)]
struct Facts {
    version: Option<String>,
    metadata: Pairs,
    methods: Methods,
    /// Whether there was any.
    are_told: bool,
}

/// What the tags of methods say.
#[derive(Clone, Debug, Default)]
struct Methods {
    all: Arc<[Method]>,
    /// Whether there was any such tag.
    are_told: bool,
}

impl Entry {
    /// Reads one of a list.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] for what is none.
    pub(crate) fn read(raw: &RawValue) -> Result<Self> {
        if raw.get().len() > ENTRY_LENGTH_MAX {
            let message = format!("read a record of more than {ENTRY_LENGTH_MAX} bytes");
            return Err(Error::new(ErrorKind::Protocol, message));
        }
        serde_json::from_str(raw.get()).map_err(|error| bad("record", error))
    }
}

impl<'a> Identity<'a> {
    /// Which `raw` is, as far as it says so.
    pub(crate) fn of(raw: &'a RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }

    /// The agent that has the record.
    pub(crate) fn agent(&self) -> &str {
        &self.node.agent
    }

    /// Consul's id of it.
    pub(crate) fn id(&self) -> &str {
        &self.service.id
    }
}

impl Place {
    /// The name of the agent.
    pub(crate) fn agent(&self) -> &str {
        &self.name
    }

    /// The agent's host, where `address` means something else on each host. An agent on loopback tells nothing.
    fn origin(&self, address: &Address) -> Option<Host> {
        let is_relative = address.is_loopback() || matches!(address.host(), Host::Name(_));
        let agent = is_relative.then(|| Address::new(&self.address, address.port()).ok())??;
        (!agent.is_loopback() && agent != *address).then(|| agent.host().clone())
    }
}

impl Stored {
    /// The node, if it stands at `place`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] or [`ErrorKind::InvalidArgument`] for what is no node.
    pub(crate) fn node(&self, place: &Place) -> Result<Node> {
        self.node_of(&self.service.parse()?, place, &mut Readings::default())
    }

    /// As [`node`](Self::node), of `service`, which this is one of, and of whose tags there are `readings`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Protocol`] or [`ErrorKind::InvalidArgument`] for what is no node.
    pub(crate) fn node_of(
        &self,
        service: &ServiceName,
        place: &Place,
        readings: &mut Readings,
    ) -> Result<Node> {
        let facts = self.facts(service, readings)?;
        let host = if self.address.is_empty() {
            &place.address
        } else {
            &self.address
        };
        let address = Address::new(host, self.port)?;
        let (id, version) = match self.meta_value(ID_KEY) {
            Some(id) => (id.to_owned(), facts.version),
            None if facts.are_told => (self.id.clone(), facts.version),
            None => (self.id_at(place), self.meta_value(VERSION_KEY).map(str::to_owned)),
        };
        let origin = place.origin(&address);
        let node = Node::builder(service.clone(), id, address).version(version.unwrap_or_default());
        let node = origin.into_iter().fold(node, NodeBuilder::origin);
        let node = self
            .meta
            .iter()
            .flat_map(Pairs::iter)
            .filter(|(key, _)| *key != ID_KEY)
            .chain(facts.metadata.iter())
            .fold(node, |node, (key, value)| node.metadata(key, value));
        node.methods(facts.methods.all).build()
    }

    /// Whether this is one of the service `name`: Consul takes small and capital letters for the same.
    pub(crate) fn is_of(&self, name: &ServiceName) -> bool {
        self.service == name.as_str()
    }

    /// The name of the service.
    pub(crate) fn into_service(self) -> String {
        self.service
    }

    /// What an operator finds the record by.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The id of a node whose record names none: other tools give one id to the like services of many agents.
    pub(crate) fn id_at(&self, place: &Place) -> String {
        format!("{}@{}", self.id, place.name)
    }

    /// Who holds the id: the boot, empty for other programs' records and for what cannot be read.
    pub(crate) fn boot(&self) -> String {
        let service = self.service.parse();
        let facts = service
            .and_then(|service| self.facts(&service, &mut Readings::default()))
            .unwrap_or_default();
        let told = facts.metadata.get(BOOT_KEY);
        told.or_else(|| self.meta_value(BOOT_KEY))
            .unwrap_or_default()
            .to_owned()
    }

    /// Where it can be called, in words.
    pub(crate) fn called_at(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    /// Whether it can be called at `address`.
    pub(crate) fn is_at(&self, address: &Address) -> bool {
        Address::new(&self.address, self.port).is_ok_and(|own| own == *address)
    }

    fn meta_value(&self, key: &str) -> Option<&str> {
        self.meta.as_ref()?.get(key)
    }

    fn facts(&self, service: &ServiceName, readings: &mut Readings) -> Result<Facts> {
        let is_method = |tag: &&str| Kind::of_tag(tag) == Some(Kind::Endpoint);
        let (methods, others): (Vec<_>, Vec<_>) = self.tags().partition(is_method);
        let read = || Methods::read(&methods, service);
        let methods = readings.methods.get_or_read(&methods, read)?;
        let facts = readings.others.get_or_read(&others, || Facts::read(&others))?;
        Ok(Facts {
            are_told: facts.are_told || methods.are_told,
            methods,
            ..facts
        })
    }

    fn tags(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().flatten().map(String::as_str)
    }
}

impl Facts {
    /// Those of the tags of one record that are of no method.
    fn read(tags: &[&str]) -> Result<Self> {
        let (mut facts, mut reader) = (Self::default(), tag::Reader::new(FACTS_LENGTH_MAX));
        for tag in tags {
            let Some(fact) = reader.read(tag)? else {
                continue;
            };
            // A tag that is not compressed may well be somebody else's: then it says nothing.
            match facts.learn(&fact.payload, fact.kind) {
                Ok(()) => facts.are_told = true,
                Err(error) if fact.checked => return Err(error),
                Err(_) => {}
            }
        }
        Ok(facts)
    }

    fn learn(&mut self, payload: &[u8], kind: Kind) -> Result<()> {
        match kind {
            Kind::Version => {
                let version = str::from_utf8(payload);
                self.version = Some(version.map_err(|error| bad("version", error))?.to_owned());
            }
            Kind::Metadata => {
                let pairs: Pairs = serde_json::from_slice(payload).map_err(|error| bad("metadata", error))?;
                self.metadata
                    .extend(pairs)
                    .map_err(|error| bad("metadata", error))?;
            }
            // Those are read by themselves.
            Kind::Endpoint => {}
        }
        Ok(())
    }
}

impl Methods {
    /// Those of the tags of one record.
    fn read(tags: &[&str], service: &ServiceName) -> Result<Self> {
        let mut reader = tag::Reader::new(FACTS_LENGTH_MAX);
        let (mut all, mut are_told) = (Vec::new(), false);
        for tag in tags {
            let Some(fact) = reader.read(tag)? else {
                continue;
            };
            are_told = true;
            // A node can be called whose methods cannot be read.
            if fact.payload.len() <= METHOD_LENGTH_MAX {
                let endpoint = serde_json::from_slice::<Endpoint>(&fact.payload).unwrap_or_default();
                all.extend(endpoint.method(service));
            }
        }
        Ok(Self {
            all: all.into(),
            are_told,
        })
    }
}

fn bad(what: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Protocol, format!("read the {what} of a record")).with_source(cause)
}
