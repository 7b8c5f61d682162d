//! Snapshots that come faster than they are taken in, on a clock that stands still.

use micro_registry::Node;
use tokio::{io::AsyncWriteExt, task};

use super::{
    super::{
        connector::{Connect, Connecting, Connector, Io},
        reach::Reach,
    },
    *,
};
use crate::control::Owned;

/// Every connect waits until it is told to succeed, and every connection ends once that is told.
#[derive(Debug)]
struct Told {
    connects: watch::Receiver<bool>,
    ends: watch::Receiver<bool>,
}

impl Connect for Told {
    fn connect(&self, _address: &micro_registry::Address) -> Connecting {
        let (mut connects, mut ends) = (self.connects.clone(), self.ends.clone());
        Box::pin(async move {
            connects.wait_for(|go| *go).await.map_err(io::Error::other)?;
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            // An empty SETTINGS frame.
            theirs.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
            tokio::spawn(async move {
                let mut sink = tokio::io::sink();
                tokio::select! {
                    _ = tokio::io::copy(&mut theirs, &mut sink) => {}
                    _ = ends.wait_for(|end| *end) => {}
                }
            });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// A control task, and where its snapshots come from.
struct Running {
    discovered: watch::Sender<Discovered>,
    connects: watch::Sender<bool>,
    ends: watch::Sender<bool>,
    shared: Arc<Shared>,
    _task: Owned<()>,
}

impl Running {
    fn start() -> Self {
        let ((connects, told), (ends, end)) = (watch::channel(false), watch::channel(false));
        let (discovered, receiver) = watch::channel(Discovered::default());
        let shared = Arc::<Shared>::default();
        let endpoints = Endpoints::new(
            "greeter".parse().unwrap(),
            Arc::new(Settings::default()),
            Dialer::new(
                Connector::new(
                    Some(Arc::new(Told {
                        connects: told,
                        ends: end,
                    })),
                    Reach::default(),
                    "test",
                ),
                None,
            ),
            Arc::clone(&shared),
            Arc::default(),
            receiver,
        );
        let _task = Owned(tokio::spawn(endpoints.run()));
        Self {
            discovered,
            connects,
            ends,
            shared,
            _task,
        }
    }

    /// With connections to these nodes.
    async fn connected(names: &[&str]) -> Self {
        let running = Self::start();
        running.connects.send_replace(true);
        running.list(names).await;
        assert_eq!(running.ready(), names);
        running
    }

    /// The registry lists these.
    async fn list(&self, names: &[&str]) {
        self.send(Snapshot::new(names.iter().map(|name| node(name, 0))));
        time::advance(COALESCE).await;
        settle().await;
    }

    /// The nodes that calls pick from.
    fn ready(&self) -> Vec<String> {
        let picker = self.shared.picker();
        let mut ready: Vec<_> = picker
            .ready
            .iter()
            .map(|ready| ready.peer.node_id().to_owned())
            .collect();
        ready.sort_unstable();
        ready
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
    let version_of = |at| if at == version % count { version } else { 0 };
    Snapshot::new((0..count).map(|at| node(&format!("n{at:05}"), version_of(at))))
}

fn node(id: &str, version: usize) -> Arc<Node> {
    let address = "127.0.0.1:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), id, address);
    Arc::new(node.version(version.to_string()).build().unwrap())
}

/// For how long nodes are kept that the registry has lost.
const HOLD_DOWN: Duration = Duration::from_secs(60);

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

#[tokio::test(start_paused = true)]
async fn nodes_that_go_one_by_one_are_held_as_those_that_go_at_once() {
    let running = Running::connected(&["a", "b", "c"]).await;
    running.list(&["b", "c"]).await;
    assert_eq!(running.ready(), ["b", "c"], "one of three is believed");
    time::sleep(HOLD_DOWN / 4).await;
    running.list(&["c"]).await;
    let gone = Instant::now();
    assert_eq!(running.ready(), ["b", "c"], "two of three are not");
    time::sleep(HOLD_DOWN / 4).await;
    running.list(&[]).await;
    assert_eq!(running.ready(), ["b", "c"]);
    time::sleep_until(gone + HOLD_DOWN).await;
    settle().await;
    assert_eq!(running.ready(), ["c"], "each is held for its time");
    time::sleep(HOLD_DOWN).await;
    assert_eq!(running.ready(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_go_slowly_are_believed() {
    let running = Running::connected(&["a", "b", "c", "d"]).await;
    for left in [&["b", "c", "d"][..], &["c", "d"], &["d"]] {
        running.list(left).await;
        assert_eq!(running.ready(), left);
        time::sleep(HOLD_DOWN).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_is_believed_at_once() {
    let mut listed: Vec<_> = ["a0", "b0", "c0", "d0"].map(str::to_owned).to_vec();
    let running = Running::connected(&["a0", "b0", "c0", "d0"]).await;
    for round in 1..=3 {
        for at in 0..listed.len() {
            let without: Vec<_> = listed
                .iter()
                .filter(|name| **name != listed[at])
                .cloned()
                .collect();
            let renewed = format!("{}{round}", &listed[at][..1]);
            listed[at] = renewed;
            for now in [&without, &listed] {
                running
                    .list(&now.iter().map(String::as_str).collect::<Vec<_>>())
                    .await;
                assert_eq!(running.ready(), *now);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_connection_has_ended_is_not_held() {
    let running = Running::connected(&["a", "b", "c"]).await;
    running.list(&["b", "c"]).await;
    running.list(&["c"]).await;
    assert_eq!(running.ready(), ["b", "c"]);
    running.connects.send_replace(false);
    running.ends.send_replace(true);
    settle().await;
    assert_eq!(running.ready(), [""; 0]);
    let known = running.shared.inquire();
    settle().await;
    let known: Vec<_> = known
        .await
        .unwrap()
        .endpoints
        .iter()
        .map(|status| status.node.id().to_owned())
        .collect();
    assert_eq!(known, ["c"], "`b` is gone");
}

#[tokio::test(start_paused = true)]
async fn a_connect_to_a_node_that_has_gone_ends() {
    let running = Running::start();
    for name in ["a", "b", "c", "d"] {
        running.list(&[name]).await;
    }
    // The connector has a receiver, and so has each connect.
    assert_eq!(running.connects.receiver_count(), 2);
    running.connects.send_replace(true);
    settle().await;
    assert_eq!(running.ready(), ["d"]);
}
