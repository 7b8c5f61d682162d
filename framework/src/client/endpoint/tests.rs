//! What an endpoint does after each thing that can happen to a connection.

use super::{super::connection::tests::connection, *};

fn endpoint() -> Endpoint {
    let address = "127.0.0.1:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "a", address);
    Endpoint::new(Arc::new(node.build().unwrap()), 1, Seat::default())
}

/// An endpoint with a connection, and that connection.
async fn ready(now: Instant) -> (Endpoint, Arc<Connection>, impl Sized) {
    let (held, driver) = connection(1, 1).await;
    let (mut endpoint, held) = (endpoint(), Arc::new(held));
    endpoint.connected(Arc::clone(&held), None, now);
    (endpoint, held, driver)
}

#[tokio::test(start_paused = true)]
async fn waits_grow_by_the_factor_up_to_the_cap() {
    let (mut endpoint, now) = (endpoint(), Instant::now());
    let mut expected_ms = 100.0;
    for _ in 0..1000 {
        endpoint.connect_failed(now);
        let share = (endpoint.next_wake(now).unwrap() - now).as_secs_f64() * 1000.0 / expected_ms;
        assert!((0.79..1.21).contains(&share), "{share} of {expected_ms} ms");
        expected_ms = (expected_ms * BACKOFF_FACTOR).min(10_000.0);
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_connection_that_was_short_and_of_no_use_counts_as_a_failed_connect() {
    let now = Instant::now();
    for (answered, lived, failures) in [
        (false, Duration::ZERO, 8),
        (true, Duration::ZERO, 0),
        (false, SHORT_LIVED, 0),
    ] {
        let (mut endpoint, connection, _driver) = ready(now).await;
        endpoint.failures = 7;
        if answered {
            connection.set_answered();
        }
        endpoint.disconnected(1, now + lived);
        assert_eq!(
            endpoint.failures, failures,
            "answered: {answered}, lived: {lived:?}"
        );
        assert_eq!(endpoint.next_wake(now).is_some(), failures > 0);
        assert!(endpoint.ready(now).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_before_it_answers_backs_off_before_it_has_ended() {
    let now = Instant::now();
    let (mut endpoint, connection, _driver) = ready(now).await;
    assert!(endpoint.ready(now).is_some());
    connection.close();
    endpoint.retire_closing(now);
    assert!(endpoint.ready(now).is_none());
    assert!(!endpoint.wants_connection(true, 4, now), "it backs off");
    endpoint.disconnected(1, now);
    assert_eq!(endpoint.failures, 1, "its end is no second failure");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_service_is_left_alone_for_its_time() {
    let now = Instant::now();
    let (mut endpoint, _connection, _driver) = ready(now).await;
    endpoint.refused(now);
    assert!(endpoint.ready(now).is_none());
    assert!(!endpoint.wants_connection(true, 4, now + REFUSED_FOR / 2));
    assert!(endpoint.wants_connection(true, 4, now + REFUSED_FOR));
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_made_when_wanted_or_full_and_no_wait_is_on() {
    let now = Instant::now();
    let later = now + Duration::from_secs(60);
    for (state, held, ahead, wanted) in [
        (State::Idle, false, true, true),
        (State::Idle, false, false, false),
        (State::Idle, true, true, false),
        (State::Connecting, false, true, false),
        (State::Backoff(later), false, true, false),
        (State::Backoff(now), false, true, true),
        (State::Backoff(now), false, false, false),
        (State::Backoff(now), true, true, false),
    ] {
        let mut endpoint = endpoint();
        endpoint.state = state;
        endpoint.held_until = held.then_some(later);
        let case = format!("{state:?}, held: {held}, ahead: {ahead}");
        assert_eq!(endpoint.wants_connection(ahead, 4, now), wanted, "{case}");
        assert_eq!(endpoint.is_connecting(), wanted || state == State::Connecting);
    }
    for (full, connections_max, wanted) in [(false, 2, false), (true, 2, true), (true, 1, false)] {
        let (mut endpoint, _connection, _driver) = ready(now).await;
        endpoint.flags.full.store(full, Ordering::Relaxed);
        let case = format!("full: {full}, of {connections_max}");
        assert_eq!(
            endpoint.wants_connection(true, connections_max, now),
            wanted,
            "{case}"
        );
    }
}

/// Five calls in a row fail, which were answered or not.
fn fail(endpoint: &mut Endpoint, answered: bool, now: Instant) {
    for _ in 0..5 {
        endpoint.flags.streak.failed(answered);
    }
    assert!(endpoint.eject_outlier(now));
    assert!(endpoint.ready(now).unwrap().ejected);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_nothing_is_left_out_until_a_new_connection_speaks() {
    let (mut endpoint, _connection, _driver) = ready(Instant::now()).await;
    let now = Instant::now() + Duration::from_secs(1);
    fail(&mut endpoint, false, now);
    assert!(endpoint.wants_connection(false, 1, now), "although it has one");
    let later = now + Duration::from_secs(3600);
    assert!(endpoint.ready(later).unwrap().ejected);
    assert_eq!(endpoint.status(later).state, EndpointState::Ejected);
    endpoint.connect_failed(later);
    assert!(endpoint.ready(later).unwrap().ejected);

    let (speaks, _driver) = connection(2, 1).await;
    endpoint.connected(Arc::new(speaks), None, later);
    let candidate = endpoint.ready(later).unwrap();
    assert!(!candidate.ejected);
    assert_eq!(candidate.connection_ids().collect::<Vec<_>>(), [2]);
    assert!(!endpoint.wants_connection(true, 1, later));
}

#[tokio::test(start_paused = true)]
async fn an_ejection_has_a_span_for_as_long_as_calls_do_not_go_there() {
    // With a second subscriber another test's thread, which has none, cannot decide that nobody wants the span.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _subscribed = tracing::subscriber::set_default(tracing_subscriber::registry());
    for answered in [true, false] {
        let (mut endpoint, _connection, _driver) = ready(Instant::now()).await;
        let now = Instant::now() + Duration::from_secs(1);
        fail(&mut endpoint, answered, now);
        let is_traced = |endpoint: &mut Endpoint, later: u64| {
            let candidate = endpoint.ready(now + Duration::from_millis(later)).unwrap();
            assert_eq!(candidate.ejected, endpoint.ejection.span.is_some(), "{later}");
            candidate.ejected
        };
        assert!(is_traced(&mut endpoint, 4_999));
        // One that answered nothing has to prove itself besides.
        assert_eq!(is_traced(&mut endpoint, 5_000), !answered);
        let (speaks, _driver) = connection(2, 1).await;
        endpoint.connected(Arc::new(speaks), None, now);
        assert!(!is_traced(&mut endpoint, 5_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_answers_needs_no_new_connection() {
    for (fails_silently, answers_later, held) in
        [(false, false, false), (true, true, false), (true, false, true)]
    {
        let (mut endpoint, _connection, _driver) = ready(Instant::now()).await;
        let now = Instant::now() + Duration::from_secs(1);
        endpoint.spot.load.started(now);
        endpoint.held_until = held.then_some(now + Duration::from_secs(7200));
        fail(&mut endpoint, !fails_silently, now);
        let later = now + Duration::from_secs(3600);
        if answers_later {
            endpoint.spot.load.answered(Duration::from_secs(1), later);
        }
        assert!(!endpoint.wants_connection(true, 1, later));
        assert!(!endpoint.ready(later).unwrap().ejected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_an_answer_is_enough_for_a_doubt_but_not_again_and_again() {
    let (mut endpoint, _connection, _driver) = ready(Instant::now()).await;
    let now = Instant::now() + Duration::from_secs(1);
    for answered in [true, true, false] {
        assert!(!endpoint.flags.streak.failed(answered));
        endpoint.doubt_silence(now);
        assert!(!endpoint.is_doubted(), "one of them was answered");
    }
    endpoint.flags.streak.succeeded();
    assert!(endpoint.flags.streak.failed(false), "the control task is told");
    assert!(endpoint.wants_attention());
    endpoint.doubt_silence(now);
    assert!(endpoint.ready(now).unwrap().ejected);
    assert!(endpoint.wants_connection(true, 1, now));

    let (speaks, _driver) = connection(2, 1).await;
    endpoint.connected(Arc::new(speaks), None, now);
    assert!(
        !endpoint.ready(now).unwrap().ejected,
        "for no longer than that took"
    );
    endpoint.doubt_silence(now + DOUBT_INTERVAL / 2);
    assert!(!endpoint.is_doubted());
    assert!(!endpoint.is_at_rest());
    assert_eq!(endpoint.next_wake(now), Some(now + DOUBT_INTERVAL));
    endpoint.doubt_silence(now + DOUBT_INTERVAL);
    assert!(endpoint.is_doubted());
}
