//! What hooks, checks, tasks and handlers get to know of the service they are part of.

use std::{net::SocketAddr, sync::Arc};

use micro_registry::ServiceName;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::Identity;
use crate::Client;

/// The service that a hook, a check, a task or a handler is part of. Cheap to clone.
///
/// ```
/// use micro::{Service, ServiceContext};
///
/// async fn consume(cx: ServiceContext) {
///     loop {
///         tokio::select! {
///             () = cx.cancelled() => return,
///             () = async { /* take a message from a queue, call others by `cx.client()` */ } => {}
///         }
///         # return;
///     }
/// }
///
/// let builder = Service::builder("greeter").task("consume", consume);
/// ```
#[derive(Clone, Debug)]
pub struct ServiceContext {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: ServiceName,
    id: String,
    client: Client,
    has_tls: bool,
    token: CancellationToken,
    address: watch::Sender<Option<SocketAddr>>,
}

impl ServiceContext {
    pub(super) fn new(
        identity: &mut Identity,
        client: Client,
        has_tls: bool,
        token: CancellationToken,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                service: identity.name.clone(),
                id: identity.id().to_owned(),
                client,
                has_tls,
                token,
                address: watch::Sender::new(None),
            }),
        }
    }

    pub(super) fn bound(&self, address: SocketAddr) {
        self.inner.address.send_replace(Some(address));
    }

    /// The name of the service.
    #[must_use]
    pub fn service(&self) -> &str {
        self.inner.service.as_str()
    }

    /// The id of this node.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// The client of the service: calls made by it within a handler share the deadline of the call that is handled.
    #[must_use]
    pub fn client(&self) -> Client {
        self.inner.client.clone()
    }

    /// The address that the service listens on, with the port that the system chose; `None` in `before_start` hooks and
    /// before, as nothing listens yet.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        *self.inner.address.borrow()
    }

    /// Whether the service speaks TLS where it listens, and nothing else: whether `[server.tls]` has a certificate.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.inner.has_tls
    }

    /// Waits until the service begins to stop.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.inner.token.clone().cancelled_owned()
    }

    /// The token that is cancelled when the service begins to stop; cancelling it stops the service.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.inner.token.clone()
    }
}
