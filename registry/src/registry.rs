//! The trait that every registry backend implements.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Node, Result, Snapshot, Watcher};

/// A place where nodes announce themselves and are found.
///
/// Every method that takes a service name refuses one outside the grammar of [`ServiceName`] with
/// [`ErrorKind::InvalidArgument`] before anything is sent. Every call answers in time, also when the backend does not:
/// with [`ErrorKind::Unavailable`]. Every call may be dropped before it has answered; then it was made or it was not.
/// Missing or refused credentials are [`ErrorKind::Unauthenticated`] or [`ErrorKind::PermissionDenied`], never an empty
/// list.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use micro_registry::{Memory, Node, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> micro_registry::Result<()> {
/// let registry: Arc<dyn Registry> = Arc::new(Memory::default());
/// let mut watcher = registry.watch("greeter").await?;
/// assert!(watcher.next().await.unwrap()?.is_empty());
///
/// let node = Node::builder("greeter".parse()?, "greeter-1", "127.0.0.1:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert_eq!(watcher.next().await.unwrap()?.len(), 1);
/// assert_eq!(registry.list_services().await?, ["greeter"]);
/// # Ok(())
/// # }
/// ```
///
/// [`ServiceName`]: crate::ServiceName
/// [`ErrorKind::InvalidArgument`]: crate::ErrorKind::InvalidArgument
/// [`ErrorKind::Unavailable`]: crate::ErrorKind::Unavailable
/// [`ErrorKind::Unauthenticated`]: crate::ErrorKind::Unauthenticated
/// [`ErrorKind::PermissionDenied`]: crate::ErrorKind::PermissionDenied
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// Announces `node` until `ttl` passes without another call.
    ///
    /// Calling again renews, replaces what is stored by what is given, and restores what the backend lost. A `ttl`
    /// shorter than the backend can hold is as long as its shortest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when another boot holds the node's id;
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) when the node does not fit into this backend;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()>;

    /// Withdraws `node`. A node that is not there is no error, and one that another boot registered stays.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn deregister(&self, node: &Node) -> Result<()>;

    /// Lists the nodes of `service`. No nodes is no error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a name outside the grammar;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn get_service(&self, service: &str) -> Result<Snapshot>;

    /// Lists the names of all services that have a node, sorted, each once.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached.
    async fn list_services(&self) -> Result<Vec<String>>;

    /// Follows `service`: the present snapshot first, empty if there is no node, then one per change; ends after its
    /// first error.
    ///
    /// Changes that come faster than they are read arrive as one snapshot, the latest. A backend that goes away ends
    /// the watch with an error; whoever still cares watches again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a name outside the grammar;
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the backend cannot be reached, here or as what the
    /// watcher yields.
    async fn watch(&self, service: &str) -> Result<Watcher>;

    /// The name that selects this backend in `MICRO_REGISTRY`, for logs and errors.
    fn name(&self) -> &'static str;
}
