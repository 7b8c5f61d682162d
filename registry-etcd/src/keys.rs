//! Where a node is stored: the keys of services and nodes.

use micro_registry::{Error, ErrorKind, Result, ServiceName};

/// Go Micro's.
const PREFIX: &str = "/micro/registry/";

/// Makes keys below a prefix.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// Keys below `prefix`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for a prefix that does not begin and end with `/`.
    pub(crate) fn new(prefix: &str) -> Result<Self> {
        if !prefix.starts_with('/') || !prefix.ends_with('/') {
            let message = format!("etcd prefix {prefix:?} does not begin and end with `/`");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self {
            prefix: prefix.to_owned(),
        })
    }

    /// The key of a node.
    pub(crate) fn node(&self, service: &ServiceName, id: &str) -> String {
        format!("{}{service}/{}", self.prefix, id.replace('/', "-"))
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            prefix: PREFIX.to_owned(),
        }
    }
}
