//! The models, each over all interleavings.

use micro_loom::models;

#[test]
fn never_more_streams_are_taken_than_there_may_be() {
    models::never_more_streams_are_taken_than_there_may_be();
}

#[test]
fn who_waits_for_a_stream_gets_one() {
    models::who_waits_for_a_stream_gets_one();
}

#[test]
fn who_waits_for_a_stream_hears_that_there_are_more() {
    models::who_waits_for_a_stream_hears_that_there_are_more();
}

#[test]
fn no_more_is_sent_again_than_the_budget_has() {
    models::no_more_is_sent_again_than_the_budget_has();
}

#[test]
fn no_more_free_attempts_are_taken_than_there_are() {
    models::no_more_free_attempts_are_taken_than_there_are();
}

#[test]
fn calls_in_flight_return_to_none() {
    models::calls_in_flight_return_to_none();
}

#[test]
fn one_failure_of_a_streak_tells() {
    models::one_failure_of_a_streak_tells();
}

#[test]
fn a_streak_is_told_although_calls_succeed_beside_it() {
    models::a_streak_is_told_although_calls_succeed_beside_it();
}
