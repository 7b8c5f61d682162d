//! What a watcher sees of a server that loses its state, does not wait, or takes no more connections.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use micro_registry::{Error, ErrorKind, Kept, Watcher};
use tokio::sync::watch;

use super::*;

/// How long a server lets wait.
const WAIT: Duration = Duration::from_secs(30);
/// Within which whatever happened is seen.
const SEEN_WITHIN: Duration = Duration::from_secs(60);

/// A server in this process. As Consul's does, it lets whoever is ahead of it wait, and wakes nobody who is.
struct Server {
    state: watch::Sender<State>,
    way: Mutex<Way>,
    began: Instant,
    lists: Mutex<Vec<Duration>>,
    changes: AtomicU64,
}

#[derive(Clone, Copy)]
struct State {
    index: u64,
    nodes: u16,
    is_led: bool,
}

/// How waiting goes.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Waits,
    DoesNotWait,
    HasNoRoom,
    Fails,
    IsAway,
}

impl Server {
    fn start(index: u64, nodes: u16) -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::new(State {
                index,
                nodes,
                is_led: true,
            }),
            way: Mutex::new(Way::Waits),
            began: Instant::now(),
            lists: Mutex::default(),
            changes: AtomicU64::new(0),
        })
    }

    fn set(&self, index: u64, nodes: u16) {
        self.state
            .send_modify(|state| (state.index, state.nodes) = (index, nodes));
    }

    fn lead(&self, is_led: bool) {
        self.state.send_modify(|state| state.is_led = is_led);
    }

    fn go(&self, way: Way) {
        *self.way.lock().unwrap() = way;
    }

    fn goes(&self) -> Way {
        *self.way.lock().unwrap()
    }

    /// How often it was asked for a list.
    fn lists(&self) -> u64 {
        self.lists.lock().unwrap().len() as u64
    }

    fn watcher(self: &Arc<Self>) -> Watcher {
        let service: ServiceName = "greeter".parse().unwrap();
        let decoder = Arc::<Kept<Decoder>>::default().lend(&service, Decoder::default);
        let follower = Follower::new(Arc::clone(self), service, decoder);
        Watcher::spawn(|sender| follower.follow(sender))
    }

    fn listing(&self) -> Listing {
        let State { index, nodes, is_led } = *self.state.borrow();
        let node = |port: u16| {
            let address = micro_registry::Address::new("127.0.0.1", port).unwrap();
            let node = Node::builder("greeter".parse().unwrap(), port.to_string(), address);
            Arc::new(node.build().unwrap())
        };
        Listing {
            snapshot: Snapshot::new((1..=nodes).map(node)),
            index,
            is_led,
            behind: Duration::ZERO,
        }
    }
}

impl Source for Server {
    type Change = Listing;

    async fn list(&self, _service: &ServiceName, _decoder: &mut Decoder) -> Result<Listing> {
        self.lists.lock().unwrap().push(self.began.elapsed());
        if self.goes() == Way::IsAway {
            return Err(Error::new(ErrorKind::Unavailable, "list"));
        }
        Ok(self.listing())
    }

    async fn change(&self, _service: &ServiceName, index: u64) -> Result<Option<Listing>> {
        self.changes.fetch_add(1, Ordering::Relaxed);
        let mut state = self.state.subscribe();
        match self.goes() {
            Way::Waits => {}
            Way::DoesNotWait => return Ok(Some(self.listing())),
            Way::HasNoRoom => return Ok(None),
            Way::Fails | Way::IsAway => return Err(Error::new(ErrorKind::Unavailable, "wait")),
        }
        let _ = time::timeout(WAIT, state.wait_for(|state| state.index > index)).await;
        Ok(Some(self.listing()))
    }

    fn began(&self) -> Instant {
        self.began
    }

    async fn read(&self, _: &ServiceName, change: &Listing, _: &mut Decoder) -> Result<Listing> {
        Ok(change.clone())
    }
}

async fn nodes(watcher: &mut Watcher) -> usize {
    watcher.next().await.expect("the watch goes on").unwrap().len()
}

/// How long `watcher` takes to see `expected` nodes.
async fn seen(watcher: &mut Watcher, expected: usize) -> Duration {
    let begun = Instant::now();
    time::timeout(2 * SEEN_WITHIN, async {
        while nodes(watcher).await != expected {}
    })
    .await
    .expect("seen at last");
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_at_once() {
    let server = Server::start(7, 1);
    let mut watcher = server.watcher();
    assert_eq!(nodes(&mut watcher).await, 1);
    for (index, count) in [(8, 2), (9, 0), (12, 3)] {
        time::sleep(Duration::from_secs(100)).await;
        server.set(index, count);
        assert!(seen(&mut watcher, count.into()).await <= REST_MIN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_state_is_followed_from_where_it_begins_anew() {
    for waited in 0..60 {
        let server = Server::start(1_000, 3);
        let mut watcher = server.watcher();
        assert_eq!(nodes(&mut watcher).await, 3);
        time::sleep(Duration::from_secs(waited)).await;
        server.set(5, 2);
        assert!(seen(&mut watcher, 2).await <= SEEN_WITHIN, "after {waited} s");
        server.set(6, 1);
        assert!(
            seen(&mut watcher, 1).await <= Duration::from_secs(1),
            "after {waited} s"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_without_a_leader_adds_nodes_and_takes_none_away() {
    for index in [3, 8] {
        let server = Server::start(7, 3);
        let mut watcher = server.watcher();
        assert_eq!(nodes(&mut watcher).await, 3);
        server.lead(false);
        server.set(index, 1);
        let cut = time::timeout(2 * SEEN_WITHIN, watcher.next()).await;
        assert!(cut.is_err(), "{cut:?}");
        server.set(index + 1, 4);
        assert_eq!(seen(&mut watcher, 4).await.as_secs(), 0);
        server.set(index + 2, 0);
        let cut = time::timeout(2 * SEEN_WITHIN, watcher.next()).await;
        assert!(cut.is_err(), "{cut:?}");
        // Nothing changes when there is a leader again, so it is the next list that tells.
        server.lead(true);
        assert!(seen(&mut watcher, 0).await <= SEEN_WITHIN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_waited_for_is_asked_again_and_again() {
    for way in [Way::HasNoRoom, Way::Fails] {
        let server = Server::start(7, 1);
        let mut watcher = server.watcher();
        assert_eq!(nodes(&mut watcher).await, 1);
        server.go(way);
        time::sleep(SEEN_WITHIN).await;
        server.set(8, 2);
        assert!(seen(&mut watcher, 2).await <= 2 * POLL_INTERVAL);
        server.go(Way::Waits);
        time::sleep(SEEN_WITHIN).await;
        server.set(9, 3);
        assert!(seen(&mut watcher, 3).await <= REST_MIN);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_poll_wake_the_process_together_and_do_not_crowd() {
    let server = Server::start(7, 1);
    server.go(Way::HasNoRoom);
    time::advance(Duration::from_millis(123)).await;
    let watchers: Vec<_> = (0..100).map(|_| server.watcher()).collect();
    time::sleep(SEEN_WITHIN).await;
    drop(watchers);
    let mut lists = server.lists.lock().unwrap().split_off(100);
    let polls = lists.len();
    assert!((900..1500).contains(&polls), "{polls} polls");
    // The clock of timers goes in milliseconds, and rounds up.
    let ticks = lists.iter().map(|at| at.as_millis() % POLL_TICK.as_millis());
    assert_eq!(ticks.clone().filter(|ms| *ms > 1).count(), 0, "{:?}", ticks.max());
    lists.dedup();
    let most = SEEN_WITHIN.as_millis() / POLL_TICK.as_millis() + 1;
    assert!(lists.len() as u128 <= most, "{} times", lists.len());
    // Of a hundred that began at once, after a minute.
    assert!(lists.len() as u128 > most / 2, "{} times", lists.len());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_ends_the_watch() {
    let server = Server::start(7, 1);
    let mut watcher = server.watcher();
    assert_eq!(nodes(&mut watcher).await, 1);
    server.go(Way::IsAway);
    let error = time::timeout(SEEN_WITHIN, watcher.next()).await.unwrap().unwrap();
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(watcher.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_wait_is_not_asked_without_end() {
    let server = Server::start(7, 1);
    let mut watcher = server.watcher();
    server.go(Way::DoesNotWait);
    assert_eq!(nodes(&mut watcher).await, 1);
    time::sleep(Duration::from_secs(600)).await;
    let asked = server.changes.load(Ordering::Relaxed);
    assert!((100..=200).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn many_changes_arrive_together_and_the_last_is_not_missed() {
    let server = Server::start(7, 0);
    let mut watcher = server.watcher();
    assert_eq!(nodes(&mut watcher).await, 0);
    for change in 0..5_000_u64 {
        server.set(8 + change, u16::try_from(change % 7).unwrap());
        time::sleep(Duration::from_millis(1)).await;
    }
    server.set(6_000, 9);
    assert!(seen(&mut watcher, 9).await <= Duration::from_secs(1));
    let asked = server.changes.load(Ordering::Relaxed) + server.lists();
    assert!(asked <= 110, "{asked}");
}

#[tokio::test(start_paused = true)]
async fn everything_is_listed_now_and_then_also_when_nothing_happens() {
    let server = Server::start(7, 1);
    let mut watcher = server.watcher();
    assert_eq!(nodes(&mut watcher).await, 1);
    time::sleep(Duration::from_secs(3_600)).await;
    let lists = server.lists();
    assert!((3_600 / 54..=3_600 / 36 + 1).contains(&lists), "{lists}");
}
