//! What a watcher sees of a server that forgets, loses its state, falls silent or says what cannot be.

mod server;

use std::sync::Arc;

use micro_registry::{ErrorKind, Watcher};
use tokio::time;

use self::server::{Server, event};
use super::*;

/// Within which a server that lost its state is found out.
const BACK_WITHIN: Duration = Duration::from_secs(15);
/// Within which a silent server is found out.
const SILENT_WITHIN: Duration = Duration::from_secs(16);
/// The rest between two snapshots.
const REST: Duration = Duration::from_millis(50);

async fn ids(watcher: &mut Watcher) -> Vec<String> {
    let snapshot = watcher
        .next()
        .await
        .expect("the watch goes on")
        .expect("no error");
    snapshot.nodes().iter().map(|node| node.id().to_owned()).collect()
}

/// How long `watcher` takes to see exactly the nodes `expected`.
async fn seen(watcher: &mut Watcher, expected: &[&str]) -> Duration {
    let begun = Instant::now();
    let find = async { while ids(watcher).await != expected {} };
    time::timeout(Duration::from_secs(3_600), find)
        .await
        .expect("seen at last");
    begun.elapsed()
}

/// Whether nothing comes for a while.
async fn is_quiet(watcher: &mut Watcher) -> bool {
    time::timeout(Duration::from_secs(2), watcher.next())
        .await
        .is_err()
}

async fn started(revision: i64) -> (Arc<Server>, Watcher) {
    let server = Server::start(revision);
    let mut watcher = server.watcher();
    assert_eq!(ids(&mut watcher).await, ["a"]);
    (server, watcher)
}

#[tokio::test(start_paused = true)]
async fn a_change_is_seen_at_once() {
    let (server, mut watcher) = started(10).await;
    for (id, expected) in [("b", &["a", "b"][..]), ("c", &["a", "b", "c"])] {
        time::sleep(Duration::from_secs(100)).await;
        server.put(id, 1);
        assert_eq!(seen(&mut watcher, expected).await, Duration::ZERO);
    }
    server.change(&[("a", None), ("b", None), ("d", Some(4))]);
    assert!(seen(&mut watcher, &["c", "d"]).await <= REST);
    assert_eq!(server.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_happens_between_the_list_and_the_watch_is_seen() {
    let server = Server::start(10);
    server.before_watch(|server| {
        server.put("b", 1);
        server.delete("a");
    });
    let mut watcher = server.watcher();
    assert!(seen(&mut watcher, &["b"]).await <= REST);
    assert_eq!(server.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_etcd_forgot_before_the_watch_began_is_listed_anew() {
    // The second begins to watch from the revision up to which everything is forgotten, and misses nothing either.
    for forget in [
        |server: &Server| {
            server.delete("a");
            server.put("b", 1);
            server.compact();
        },
        |server: &Server| {
            server.put("b", 1);
            server.delete("a");
            server.compact();
        },
        |server: &Server| {
            server.compact();
            server.put("b", 1);
            server.delete("a");
        },
    ] {
        let server = Server::start(10);
        server.before_watch(forget);
        let mut watcher = server.watcher();
        assert!(seen(&mut watcher, &["b"]).await <= Duration::from_secs(2));
        server.put("c", 1);
        assert!(seen(&mut watcher, &["b", "c"]).await <= REST);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delete_at_the_very_revision_that_is_forgotten_is_not_missed() {
    let server = Server::start(10);
    server.before_watch(|server| {
        server.delete("a");
        server.compact();
    });
    let mut watcher = server.watcher();
    assert!(seen(&mut watcher, &[]).await <= Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_state_is_found_out_while_the_connection_stands() {
    for waited in 0..12 {
        let (server, mut watcher) = started(1_000).await;
        time::sleep(Duration::from_secs(waited)).await;
        server.wipe();
        server.put("b", 1);
        assert!(
            seen(&mut watcher, &["b"]).await <= BACK_WITHIN,
            "after {waited} s"
        );
        server.put("c", 1);
        assert!(seen(&mut watcher, &["b", "c"]).await <= REST, "after {waited} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lost_its_state_between_list_and_watch_is_found_out_at_once() {
    let server = Server::start(1_000);
    server.before_watch(|server| {
        server.wipe();
        server.put("b", 1);
    });
    let mut watcher = server.watcher();
    assert!(seen(&mut watcher, &["b"]).await <= Duration::from_secs(2));
    server.put("c", 1);
    assert!(seen(&mut watcher, &["b", "c"]).await <= REST);
}

#[tokio::test(start_paused = true)]
async fn a_server_of_an_earlier_term_is_listed_anew() {
    let (server, mut watcher) = started(10).await;
    server.elect(8);
    server.put("b", 1);
    seen(&mut watcher, &["a", "b"]).await;
    time::sleep(Duration::from_secs(10)).await;
    server.elect(2);
    server.put("c", 1);
    assert!(seen(&mut watcher, &["a", "b", "c"]).await <= Duration::from_secs(1));
    assert_eq!(server.counts(), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_yet_to_hear_what_was_listed_is_watched_all_the_same() {
    let server = Server::start(10);
    server.before_watch(|server| server.lag(3));
    let mut watcher = server.watcher();
    assert_eq!(ids(&mut watcher).await, ["a"]);
    time::sleep(Duration::from_secs(3)).await;
    assert_eq!(server.counts(), (2, 1));
    server.lag(0);
    server.put("b", 1);
    assert!(seen(&mut watcher, &["a", "b"]).await <= REST);
    time::sleep(Duration::from_secs(100)).await;
    assert_eq!(server.counts(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_behind_is_left_now_and_then_and_not_without_end() {
    let (server, mut watcher) = started(10).await;
    server.lag(3);
    server.put("b", 1);
    assert!(seen(&mut watcher, &["a", "b"]).await <= BACK_WITHIN);
    time::sleep(Duration::from_secs(100)).await;
    let (lists, watches) = server.counts();
    assert!(lists <= 50 && watches <= 25, "{lists} {watches}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_falls_silent_ends() {
    for waited in 0..20 {
        let (server, mut watcher) = started(10).await;
        time::sleep(Duration::from_secs(waited)).await;
        server.fall_silent();
        let begun = Instant::now();
        let error = watcher.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(begun.elapsed() <= SILENT_WITHIN, "{:?}", begun.elapsed());
        assert!(watcher.next().await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_says_that_the_watch_began_ends_it() {
    let server = Server::start(10);
    server.before_watch(Server::fall_silent);
    let mut watcher = server.watcher();
    assert_eq!(ids(&mut watcher).await, ["a"]);
    let begun = Instant::now();
    assert!(watcher.next().await.unwrap().is_err());
    assert!(begun.elapsed() <= SILENT_WITHIN);
}

#[tokio::test(start_paused = true)]
async fn a_watch_on_which_nothing_happens_goes_on_and_is_listed_now_and_then() {
    let (server, mut watcher) = started(10).await;
    assert!(
        time::timeout(Duration::from_secs(3_600), watcher.next())
            .await
            .is_err()
    );
    let (lists, watches) = server.counts();
    assert!((10..=16).contains(&lists), "{lists}");
    assert_eq!(watches, 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_not_told_is_found_by_the_next_list() {
    let (server, mut watcher) = started(10).await;
    server.keep_next_change_quiet();
    server.delete("a");
    assert!(seen(&mut watcher, &[]).await <= Duration::from_secs(360));
    server.put("b", 1);
    assert!(seen(&mut watcher, &["b"]).await <= REST);
    assert_eq!(server.counts().1, 1);
}

#[tokio::test(start_paused = true)]
async fn the_parts_of_a_message_arrive_together() {
    let (server, mut watcher) = started(10).await;
    let at = server.at();
    for (id, has_more) in [("b", true), ("c", true), ("d", false)] {
        assert!(is_quiet(&mut watcher).await, "before {id}");
        let events = vec![event(id, at.revision + 1, Some(1))];
        server.say(at, Content::Events { events, has_more });
    }
    assert_eq!(ids(&mut watcher).await, ["a", "b", "c", "d"]);
    // An end in the middle of a message tells nothing of it.
    let events = vec![event("e", at.revision + 2, Some(1))];
    let has_more = true;
    server.say(at, Content::Events { events, has_more });
    assert!(is_quiet(&mut watcher).await);
    server.go_away();
    assert!(watcher.next().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn events_that_go_back_are_not_believed_and_old_ones_change_nothing() {
    let (server, mut watcher) = started(10).await;
    let at = server.at();
    let say = |events| {
        let has_more = false;
        server.say(at, Content::Events { events, has_more });
    };
    // It was listed as of 11, so what is said to have happened before is known.
    say(vec![event("a", at.revision, None), event("b", 3, Some(1))]);
    assert!(is_quiet(&mut watcher).await);
    say(vec![
        event("b", at.revision + 9, Some(1)),
        event("c", at.revision + 5, Some(1)),
    ]);
    assert!(is_quiet(&mut watcher).await);
    assert_eq!(server.counts(), (2, 2));
    server.put("d", 1);
    assert!(seen(&mut watcher, &["a", "d"]).await <= REST);
}

#[tokio::test(start_paused = true)]
async fn what_changed_comes_before_the_error_that_ends_the_watch() {
    let (server, mut watcher) = started(10).await;
    for id in ["b", "c"] {
        server.put(id, 1);
        time::sleep(Duration::from_millis(1)).await;
    }
    server.go_away();
    assert_eq!(seen(&mut watcher, &["a", "b", "c"]).await, Duration::ZERO);
    assert_eq!(
        watcher.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_ends_the_watch() {
    let server = Server::start(10);
    server.go_away();
    let mut watcher = server.watcher();
    assert_eq!(
        watcher.next().await.unwrap().unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_away_ends_an_open_watch_by_the_next_full_list() {
    let (server, mut watcher) = started(10).await;
    server.refuse_lists();
    // As etcd does: it looks at rights when a watch begins.
    server.put("b", 1);
    assert!(seen(&mut watcher, &["a", "b"]).await <= REST);
    let begun = Instant::now();
    let error = watcher.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(
        begun.elapsed() <= Duration::from_secs(360),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn many_changes_arrive_together_and_the_last_is_not_missed() {
    let (server, mut watcher) = started(10).await;
    let storm = async {
        for change in 0..5_000_u16 {
            server.put("a", 1 + change % 7);
            time::sleep(Duration::from_millis(1)).await;
        }
        server.put("z", 1);
    };
    let count = async {
        let mut snapshots = 0;
        while ids(&mut watcher).await != ["a", "z"] {
            snapshots += 1;
        }
        snapshots
    };
    let ((), snapshots) = tokio::join!(storm, count);
    assert!((50..=101).contains(&snapshots), "{snapshots}");
    assert_eq!(server.counts(), (1, 1));
}
