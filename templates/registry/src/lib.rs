//! The registry `{{service_name}}`: so far in a folder that all hosts share, one file a node.
//!
//! Three files, as in every backend: this one has the contract, `folder.rs` speaks with the medium, and `record.rs`
//! alone knows how a node is stored. It is meant for hundreds of nodes, and for hosts whose clocks agree to a second.

mod folder;
mod record;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use micro_registry::{Error, ErrorKind, Node, Registry, Result, ServiceName, Snapshot, Watcher};
use tokio::{sync::Semaphore, task, time};

use self::folder::Folder;

/// The name by which `MICRO_REGISTRY` selects this backend.
pub const NAME: &str = "{{service_name}}";

/// How often a watch looks. Network folders tell nobody of changes, and a record that ran out changes nothing.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How long the folder may take to answer: one on a network may hang.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many threads may wait for the folder; when all of them hang, no more are started.
const THREADS_MAX: usize = 4;

/// Nodes in files below a folder. Cheap to clone; clones are the same registry.
///
/// ```
/// use std::time::Duration;
/// use {{crate_name}}::FileRegistry;
/// use micro_registry::{Node, Registry};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let registry = FileRegistry::new(folder.path());
/// let node = Node::builder("clock".parse()?, "clock-1", "10.0.0.7:9090".parse()?).build()?;
/// registry.register(&node, Duration::from_secs(30)).await?;
/// assert!(folder.path().join("clock/clock-1.json").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FileRegistry {
    folder: Arc<Folder>,
    threads: Arc<Semaphore>,
}

impl FileRegistry {
    /// A registry in `folder`, which must be there when it is used: one that is not mounted is not created.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: Arc::new(Folder::new(folder.into())),
            threads: Arc::new(Semaphore::new(THREADS_MAX)),
        }
    }

    /// A registry where the configuration says: `MICRO_REGISTRY_ADDRESS` is the folder. Touches no file.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] unless there is exactly one address.
    pub fn at(addresses: &[String]) -> Result<Self> {
        let [folder] = addresses else {
            let message = format!(
                "the file registry is at one folder, and {} are set: MICRO_REGISTRY_ADDRESS=/mnt/shared/nodes",
                addresses.len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        };
        Ok(Self::new(folder))
    }

    async fn snapshot(&self, service: ServiceName) -> Result<Snapshot> {
        self.on_disk(format!("list the nodes of `{service}`"), move |folder| {
            folder.nodes(&service)
        })
        .await
    }

    /// Does `work` on a thread that may block, and waits for it only so long. Work that was given up may still be done.
    async fn on_disk<T: Send + 'static>(
        &self,
        what: String,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (folder, threads) = (Arc::clone(&self.folder), Arc::clone(&self.threads));
        let done = async {
            let thread = threads.acquire_owned().await.map_err(unavailable(&what))?;
            let work = move || {
                let _thread = thread;
                work(&folder)
            };
            task::spawn_blocking(work).await.map_err(unavailable(&what))?
        };
        let elapsed = |elapsed| Err(unavailable(&what)(elapsed));
        time::timeout(CALL_TIMEOUT, done).await.unwrap_or_else(elapsed)
    }
}

#[async_trait]
impl Registry for FileRegistry {
    async fn register(&self, node: &Node, ttl: Duration) -> Result<()> {
        let (what, node) = (format!("register node `{}`", node.id()), node.clone());
        self.on_disk(what, move |folder| folder.put(&node, ttl)).await
    }

    async fn deregister(&self, node: &Node) -> Result<()> {
        let (what, node) = (format!("deregister node `{}`", node.id()), node.clone());
        self.on_disk(what, move |folder| folder.take(&node)).await
    }

    async fn get_service(&self, service: &str) -> Result<Snapshot> {
        // Parsing is the check: what is no service name reaches no path.
        self.snapshot(service.parse()?).await
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        self.on_disk("list the services".to_owned(), Folder::services)
            .await
    }

    async fn watch(&self, service: &str) -> Result<Watcher> {
        let (registry, service) = (self.clone(), service.parse::<ServiceName>()?);
        // Whole snapshots, and the first error ends it: those who care watch again, after a while.
        Ok(Watcher::spawn(|sender| async move {
            loop {
                sender.send(registry.snapshot(service.clone()).await?);
                time::sleep(POLL_INTERVAL).await;
            }
        }))
    }

    fn name(&self) -> &'static str {
        NAME
    }
}

/// What could not be done because the folder is away.
fn unavailable<E>(what: &str) -> impl FnOnce(E) -> Error
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    move |cause| Error::new(ErrorKind::Unavailable, what).with_source(cause)
}
