//! How a node is reached: by the connector, and over TLS where it is to be.

use std::{io, sync::Arc};

use http::uri::Scheme;
use micro_registry::Node;

use super::connector::{Connector, Io};
use crate::tls::ClientTls;

/// Reaches nodes. Clones share.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    connector: Arc<Connector>,
    tls: Option<ClientTls>,
}

impl Dialer {
    pub(super) fn new(connector: Connector, tls: Option<ClientTls>) -> Self {
        Self {
            connector: Arc::new(connector),
            tls,
        }
    }

    /// Opens a stream of bytes to `node`, and says which scheme requests over it have.
    pub(super) async fn dial(&self, node: &Node) -> io::Result<(Box<dyn Io>, Scheme)> {
        // Unless plaintext is allowed nobody looks at the record: who writes there could talk us out of TLS.
        let tls = self
            .tls
            .as_ref()
            .filter(|tls| node.wants_tls() || !tls.allows_plaintext());
        if tls.is_none() && node.wants_tls() {
            let message = "the node is to be called over TLS, for which `client.tls` is not set";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        let io = self.connector.connect(node).await?;
        match tls {
            Some(tls) => {
                let io = tls.connect(io, node.service(), node.address()).await?;
                Ok((io, Scheme::HTTPS))
            }
            None => Ok((io, Scheme::HTTP)),
        }
    }
}
