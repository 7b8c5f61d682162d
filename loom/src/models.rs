//! What must hold whatever the threads do, one function each.

use std::{sync::Arc, time::Duration};

use loom::{future::block_on, model::Builder, thread};
use metrics::Counter;
use tokio::time::Instant;

use crate::{
    budget::Budget,
    load::Load,
    room::Room,
    streak::{FAILURES_MAX, Streak},
    streams::Streams,
    sync::atomic::{AtomicUsize, Ordering},
};

/// How often the scheduler interrupts a thread that could go on, in the models with many steps: what goes wrong with
/// few threads goes wrong with few interruptions.
const PREEMPTIONS_MAX: usize = 3;

/// The same where three threads wait for each other, which has ten times the interleavings: a look too early costs a wake-up
/// with two.
const PREEMPTIONS_MAX_OF_THREE: usize = 2;

fn check(model: impl Fn() + Sync + Send + 'static) {
    check_with(PREEMPTIONS_MAX, model);
}

fn check_with(preemptions_max: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(model);
}

fn streams(max: usize) -> Streams {
    Streams::new(max)
}

/// Of more callers than there are streams, never more hold one than may.
pub fn never_more_streams_are_taken_than_there_may_be() {
    check(|| {
        let (streams, held) = (Arc::new(streams(1)), Arc::new(AtomicUsize::new(0)));
        let caller = move |streams: Arc<Streams>, held: Arc<AtomicUsize>| {
            if streams.reserve() {
                assert_eq!(held.fetch_add(1, Ordering::SeqCst), 0, "one too many");
                held.fetch_sub(1, Ordering::SeqCst);
                streams.release();
            }
        };
        let threads = [(); 2].map(|()| {
            let (streams, held) = (Arc::clone(&streams), Arc::clone(&held));
            thread::spawn(move || caller(streams, held))
        });
        caller(Arc::clone(&streams), held);
        for thread in threads {
            thread.join().expect("no panic in the thread");
        }
        assert_eq!(streams.taken(), 0, "each was given back once");
    });
}

/// Callers that find every stream taken wait, and each gets one once those before it are done: no wake-up is lost.
pub fn who_waits_for_a_stream_gets_one() {
    check_with(PREEMPTIONS_MAX_OF_THREE, || {
        let (streams, room) = (Arc::new(streams(1)), Arc::new(Room::default()));
        assert!(streams.reserve());
        let threads = [(); 2].map(|()| {
            let (streams, room) = (Arc::clone(&streams), Arc::clone(&room));
            thread::spawn(move || {
                block_on(place(&streams, &room));
                give_back(&streams, &room);
            })
        });
        give_back(&streams, &room);
        for thread in threads {
            thread.join().expect("no panic in the thread");
        }
        assert_eq!(streams.taken(), 0);
    });
}

/// A caller that finds every stream taken gets one once the peer allows more, though nobody gives one back.
pub fn who_waits_for_a_stream_hears_that_there_are_more() {
    check(|| {
        let (streams, room) = (Arc::new(streams(1)), Arc::new(Room::default()));
        assert!(streams.reserve());
        let thread = {
            let (streams, room) = (Arc::clone(&streams), Arc::clone(&room));
            thread::spawn(move || block_on(place(&streams, &room)))
        };
        // As the connection's driver does it.
        if streams.allow(2) {
            room.release();
        }
        thread.join().expect("no panic in the thread");
        assert_eq!(streams.taken(), 2);
    });
}

/// As a call does it in `waiting.rs`: at once, else after saying that it waits.
async fn place(streams: &Streams, room: &Room) {
    if streams.reserve() {
        return;
    }
    let waiting = room.wait();
    loop {
        let released = waiting.released();
        if streams.reserve() {
            return;
        }
        released.await;
    }
}

/// As the place of a call does it that has ended.
fn give_back(streams: &Streams, room: &Room) {
    streams.release();
    room.release();
}

/// Calls that send again at the same time spend no more than was earned, and all of that can be spent.
pub fn no_more_is_sent_again_than_the_budget_has() {
    check(|| {
        let (budget, now) = (Arc::new(Budget::new(Counter::noop())), Instant::now());
        while budget.take(now) {}
        (0..4).for_each(|_| budget.earn());
        let thread = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || {
                budget.earn();
                usize::from(budget.take(now))
            })
        };
        (0..5).for_each(|_| budget.earn());
        let mut taken = usize::from(budget.take(now));
        taken += thread.join().expect("no panic in the thread");
        while budget.take(now) {
            taken += 1;
        }
        // Ten calls earn two.
        assert_eq!(taken, 2);
    });
}

/// The free attempts of one moment are as many as they are, whoever takes them.
pub fn no_more_free_attempts_are_taken_than_there_are() {
    check(|| {
        let (budget, now) = (Arc::new(Budget::new(Counter::noop())), Instant::now());
        let mut taken = (0..8).filter(|_| budget.take(now)).count();
        let thread = {
            let budget = Arc::clone(&budget);
            thread::spawn(move || (0..2).filter(|_| budget.take(now)).count())
        };
        taken += (0..2).filter(|_| budget.take(now)).count();
        taken += thread.join().expect("no panic in the thread");
        assert_eq!(taken, 10);
        assert!(!budget.take(now));
    });
}

/// Whatever calls do at the same time, none is in flight once each has ended, and none is waited for.
pub fn calls_in_flight_return_to_none() {
    check(|| {
        let (load, now) = (Arc::new(Load::new()), Instant::now());
        let thread = {
            let load = Arc::clone(&load);
            thread::spawn(move || {
                load.started(now);
                load.answered(Duration::from_millis(1), now);
                load.ended();
            })
        };
        load.started(now);
        assert!((1..=2).contains(&load.in_flight()));
        load.abandoned(Duration::from_millis(1), now);
        thread.join().expect("no panic in the thread");
        assert_eq!(load.in_flight(), 0);
        // What is waited for grows with time; what was measured fades.
        let later = now + Duration::from_secs(60 * 60);
        assert_eq!(load.latency(later), Duration::ZERO);
    });
}

/// Of failures on several threads that make a streak, exactly one tells the control task.
pub fn one_failure_of_a_streak_tells() {
    check(|| {
        let streak = Arc::new(Streak::default());
        let fail = |streak: &Streak| (0..FAILURES_MAX - 2).filter(|_| streak.failed(true)).count();
        let thread = {
            let streak = Arc::clone(&streak);
            thread::spawn(move || fail(&streak))
        };
        let mut told = fail(&streak);
        told += thread.join().expect("no panic in the thread");
        assert!(streak.ejects());
        assert_eq!(told, 1);
    });
}

/// A streak that is long enough was told after the last call that ended one, or the node would stay in use.
pub fn a_streak_is_told_although_calls_succeed_beside_it() {
    check(|| {
        let streak = Arc::new(Streak::default());
        let thread = {
            let streak = Arc::clone(&streak);
            thread::spawn(move || {
                streak.succeeded();
                streak.succeeded();
            })
        };
        let told = (0..FAILURES_MAX + 1).filter(|_| streak.failed(true)).count();
        thread.join().expect("no panic in the thread");
        assert!(told > 0 || !streak.ejects(), "nobody was told");
    });
}
