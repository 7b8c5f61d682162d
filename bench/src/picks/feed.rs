//! A registry that says what it is told, and nodes that are connected to without a network.

use std::{
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use micro::{
    Connect, Connecting, Io,
    registry::{Address, Error, ErrorKind, Node, Registry, Result, Snapshot, Watcher},
};
use tokio::{io::AsyncWriteExt as _, sync::watch};

/// The service that is benchmarked.
pub(crate) const SERVICE: &str = "bench";

/// A registry of one service.
#[derive(Debug)]
pub(crate) struct Feed {
    snapshots: watch::Sender<Snapshot>,
    address: Address,
}

impl Feed {
    /// One with so many nodes, all at one address.
    pub(crate) fn new(nodes: usize, address: Address) -> Self {
        let snapshot = Snapshot::new((0..nodes).map(|at| node(at, 0, &address)));
        let (snapshots, _) = watch::channel(snapshot);
        Self { snapshots, address }
    }

    /// What it says now.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Gives the node at this place this version.
    pub(super) fn change(&self, at: usize, version: usize) {
        self.snapshots.send_modify(|snapshot| {
            let mut nodes = snapshot.nodes().to_vec();
            nodes[at] = node(at, version, &self.address);
            *snapshot = Snapshot::new(nodes);
        });
    }
}

fn node(at: usize, version: usize, address: &Address) -> Arc<Node> {
    let service = SERVICE.parse().expect("`bench` is a service name");
    let node = Node::builder(service, format!("bench-{at:05}"), address.clone())
        .version(version.to_string())
        .metadata("weight", ["1", "2", "3"][at % 3])
        .boot("boot")
        .build();
    Arc::new(node.expect("a node that is within all limits"))
}

#[async_trait]
impl Registry for Feed {
    async fn register(&self, _node: &Node, _ttl: Duration) -> Result<()> {
        Err(Error::new(ErrorKind::InvalidArgument, "this registry only tells"))
    }

    async fn deregister(&self, _node: &Node) -> Result<()> {
        Ok(())
    }

    async fn get_service(&self, _service: &str) -> Result<Snapshot> {
        Ok(self.snapshot())
    }

    async fn list_services(&self) -> Result<Vec<String>> {
        Ok(vec![SERVICE.to_owned()])
    }

    async fn watch(&self, _service: &str) -> Result<Watcher> {
        let mut snapshots = self.snapshots.subscribe();
        Ok(Watcher::spawn(|sender| async move {
            loop {
                sender.send(snapshots.borrow_and_update().clone());
                if snapshots.changed().await.is_err() {
                    return Err(Error::new(ErrorKind::Unavailable, "the feed has ended"));
                }
            }
        }))
    }

    fn name(&self) -> &'static str {
        "feed"
    }
}

/// Connects to nodes that say no more than they must.
#[derive(Clone, Debug, Default)]
pub(super) struct Mute {
    connections: Arc<AtomicUsize>,
}

impl Connect for Mute {
    fn connect(&self, _address: &Address) -> Connecting {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let (ours, mut theirs) = tokio::io::duplex(256);
            // SETTINGS that allow more streams than anybody opens.
            let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0x7f, 0xff, 0xff, 0xff];
            theirs.write_all(&settings).await?;
            tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}
