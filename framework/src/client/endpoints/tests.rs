//! Snapshots that come faster than they are taken in, on a clock that stands still.

use micro_registry::Node;
use tokio::{io::AsyncWriteExt, task};

use super::{
    super::connector::{Connecting, Io},
    *,
};
use crate::control::Owned;

/// Every connect waits until it is told to succeed.
#[derive(Debug)]
struct Told(watch::Receiver<bool>);

impl Connect for Told {
    fn connect(&self, _address: &micro_registry::Address) -> Connecting {
        let mut told = self.0.clone();
        Box::pin(async move {
            told.wait_for(|go| *go).await.map_err(io::Error::other)?;
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            // An empty SETTINGS frame.
            theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
            tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// A control task, and where its snapshots come from.
struct Running {
    discovered: watch::Sender<Discovered>,
    connects: watch::Sender<bool>,
    shared: Arc<Shared>,
    _task: Owned<()>,
}

impl Running {
    fn start() -> Self {
        let (connects, told) = watch::channel(false);
        let (discovered, receiver) = watch::channel(Discovered::default());
        let shared = Arc::<Shared>::default();
        let endpoints = Endpoints::new(
            "greeter".parse().unwrap(),
            Arc::new(Settings::default()),
            Arc::new(Told(told)),
            Arc::clone(&shared),
            receiver,
        );
        let _task = Owned(tokio::spawn(endpoints.run()));
        Self {
            discovered,
            connects,
            shared,
            _task,
        }
    }

    fn send(&self, snapshot: Snapshot) {
        self.discovered
            .send_modify(|discovered| discovered.snapshot = Some(snapshot));
    }

    fn published(&self) -> u64 {
        *self.shared.subscribe().borrow()
    }

    fn known(&self) -> Option<Snapshot> {
        self.shared.picker().known.snapshot.clone()
    }
}

/// Nodes `0..count`, of which the one at `version % count` has changed.
fn snapshot(count: usize, version: usize) -> Snapshot {
    Snapshot::new((0..count).map(|at| {
        let address = "127.0.0.1:9090".parse().unwrap();
        let node = Node::builder("greeter".parse().unwrap(), format!("n{at:05}"), address);
        let version = if at == version % count { version } else { 0 };
        Arc::new(node.version(version.to_string()).build().unwrap())
    }))
}

async fn settle() {
    for _ in 0..20 {
        task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_snapshots_is_published_now_and_then_and_its_last_one_soon() {
    let running = Running::start();
    settle().await;
    running.send(snapshot(10, 0));
    settle().await;
    assert_eq!(
        running.known(),
        Some(snapshot(10, 0)),
        "the first one is taken in at once"
    );
    let before = running.published();
    for version in 1..=1000 {
        running.send(snapshot(10, version));
        time::sleep(Duration::from_millis(1)).await;
    }
    let during = running.published() - before;
    assert!((18..=21).contains(&during), "{during} in a second");
    time::sleep(COALESCE).await;
    assert_eq!(running.known(), Some(snapshot(10, 1000)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_published_at_once_although_snapshots_wait() {
    let running = Running::start();
    settle().await;
    running.send(snapshot(1, 0));
    settle().await;
    running.send(snapshot(1, 1));
    time::advance(COALESCE / 2).await;
    running.connects.send_replace(true);
    settle().await;
    assert_eq!(running.shared.picker().ready.len(), 1);
    assert_eq!(running.known(), Some(snapshot(1, 0)), "the second one waits");
    time::advance(COALESCE).await;
    settle().await;
    assert_eq!(running.known(), Some(snapshot(1, 1)));
}
