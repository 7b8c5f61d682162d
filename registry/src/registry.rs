//! The trait that every registry backend implements.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Node, Result, Snapshot, Watcher};

/// A place where nodes announce themselves and are found.
///
/// A backend is mechanism: what its protocol needs to hold a registration or a watch belongs to it and stops on drop.
/// It does not retry a failed call and serves no old answers. A constructor touches no network; the first call
/// connects. Every method that takes a service name refuses one outside the grammar of [`ServiceName`] with
/// [`ErrorKind::InvalidArgument`] before anything is sent.
///
/// Whatever other programs wrote into the registry is untrusted: a bad record is skipped with one warning and never
/// hides the others.
///
/// [`ServiceName`]: crate::ServiceName
/// [`ErrorKind::InvalidArgument`]: crate::ErrorKind::InvalidArgument
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Announces `node` until `ttl` passes without another call.
    ///
    /// Calling again renews, replaces what is stored by what is given, and restores what the backend lost.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another boot holds the node's id;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when the node does not fit into this backend;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()>;

    /// Withdraws `node`. A node that is not there is no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn deregister(&self, node: &Node) -> Result<()>;

    /// Lists the nodes of `service`. No nodes is no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn get_service(&self, service: &str) -> Result<Snapshot>;

    /// Lists the names of all services that have a node, sorted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn list_services(&self) -> Result<Vec<String>>;

    /// Follows `service`: the present snapshot first, then one per change; ends after its first error.
    ///
    /// Changes that come faster than they are read arrive as one snapshot, the latest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn watch(&self, service: &str) -> Result<Watcher>;

    /// The name that selects this backend in `MICRO_REGISTRY`, for logs and errors.
    fn name(&self) -> &'static str;
}
