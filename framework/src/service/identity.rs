//! Who a service is: what makes a node of it.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use micro_registry::{Address, Method, Node, ServiceName};

use super::address::{Advertise, Listen};
use crate::{Error, Result};

/// Who the service is and where it listens, as code, file and environment say.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: ServiceName,
    pub(crate) version: String,
    /// `None` until [`id`](Self::id) makes one up.
    pub(crate) id: Option<String>,
    pub(crate) listen: Listen,
    pub(crate) advertise: Option<Advertise>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Identity {
    pub(crate) fn new(name: ServiceName) -> Self {
        Self {
            name,
            version: String::new(),
            id: None,
            listen: Listen::default(),
            advertise: None,
            metadata: BTreeMap::new(),
        }
    }

    /// The id that was configured, or the name and eight random hex digits.
    pub(crate) fn id(&mut self) -> &str {
        let name = &self.name;
        self.id
            .get_or_insert_with(|| format!("{name}-{:08x}", random() as u32))
    }

    /// The node of this start at `address`.
    pub(crate) fn node(&mut self, address: Address, methods: Arc<[Method]>) -> Result<Node> {
        let id = self.id().to_owned();
        let mut node = Node::builder(self.name.clone(), id, address)
            .version(self.version.clone())
            .boot(format!("{:016x}", random()))
            .methods(methods);
        for (key, value) in &self.metadata {
            node = node.metadata(key, value);
        }
        node.build()
            .map_err(|error| Error::config("describe the node").with_source(error))
    }
}

/// Not from a generator seeded by the clock: hosts that boot together must not agree.
fn random() -> u64 {
    RandomState::new().hash_one(())
}
