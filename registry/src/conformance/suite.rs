//! The macro that makes a test of each clause, and what each test runs.

use std::time::Duration;

use tokio::time;

use super::{Harness, Stage, step::Steps};

/// How long one clause may take; each of its waits has a shorter bound and a better message.
const CLAUSE_TIMEOUT: Duration = Duration::from_secs(600);

/// Runs one clause of the suite; called by what [`conformance!`](crate::conformance!) writes.
///
/// # Panics
///
/// When the backend breaks the clause.
pub fn run<H: Harness>(clause: &'static str, test: impl AsyncFnOnce(&Stage<H>)) {
    let steps = Steps::new(clause);
    let acts = async {
        let stage = Stage::new(H::start().await, steps.clone());
        test(&stage).await;
    };
    H::runtime().block_on(async {
        if time::timeout(CLAUSE_TIMEOUT, acts).await.is_err() {
            steps.fail(
                &steps.last(),
                format_args!("the clause was not over after {CLAUSE_TIMEOUT:?}"),
            );
        }
    });
}

/// Ends a clause that was asked for although the backend cannot be made to do it.
///
/// # Panics
///
/// Always, with the reason.
pub fn cannot(clause: &'static str, reason: &'static str) -> ! {
    panic!("{clause}: this backend cannot: {reason}")
}

/// Makes a test of each clause of the contract, run against the backend that a [`Harness`] opens.
///
/// `conformance!(MyHarness)` makes them all, and needs [`Absent`], [`Restart`] and [`Foreign`]. The clauses that a
/// backend cannot be made to do stand under `cannot`, in the order of the suite, each with its reason:
///
/// - `an_id_held_by_another_boot_is_a_conflict`
/// - `a_backend_that_is_away_answers_unavailable_in_time` (needs [`Absent`])
/// - `a_backend_restarted_empty_has_the_node_after_the_next_renewal` (needs [`Restart`])
/// - `a_foreign_bad_record_hides_nothing` (needs [`Foreign`])
///
/// See [`micro_registry::conformance`](mod@crate::conformance) for an example.
///
/// [`Harness`]: crate::conformance::Harness
/// [`Absent`]: crate::conformance::Absent
/// [`Restart`]: crate::conformance::Restart
/// [`Foreign`]: crate::conformance::Foreign
#[macro_export]
macro_rules! conformance {
    (@clause $harness:ty, $clause:ident) => {
        #[test]
        fn $clause() {
            $crate::conformance::run::<$harness>(
                stringify!($clause),
                $crate::conformance::clauses::$clause,
            );
        }
    };
    (@clause $harness:ty, $clause:ident, $reason:literal) => {
        #[test]
        #[ignore = $reason]
        fn $clause() {
            $crate::conformance::cannot(stringify!($clause), $reason);
        }
    };
    ($harness:ty $(,)?) => {
        $crate::conformance! { $harness, cannot {} }
    };
    ($harness:ty, cannot {
        $(an_id_held_by_another_boot_is_a_conflict: $conflict:literal $(,)?)?
        $(a_backend_that_is_away_answers_unavailable_in_time: $absent:literal $(,)?)?
        $(a_backend_restarted_empty_has_the_node_after_the_next_renewal: $restart:literal $(,)?)?
        $(a_foreign_bad_record_hides_nothing: $foreign:literal $(,)?)?
    } $(,)?) => {
        $crate::conformance! { @clause $harness, a_registered_node_is_found }
        $crate::conformance! { @clause $harness, registering_twice_keeps_one }
        $crate::conformance! { @clause $harness, several_nodes_of_one_service_are_all_kept }
        $crate::conformance! { @clause $harness, deregistering_twice_is_fine }
        $crate::conformance! { @clause $harness, an_unknown_service_is_an_empty_snapshot }
        $crate::conformance! { @clause $harness, a_service_does_not_see_one_whose_name_begins_with_its_own }
        $crate::conformance! { @clause $harness, services_are_listed_while_they_have_a_node }
        $crate::conformance! { @clause $harness, metadata_with_marks_and_spaces_survives }
        $crate::conformance! { @clause $harness, every_form_of_address_survives }
        $crate::conformance! { @clause $harness, methods_are_kept_or_left_out_as_a_whole }
        $crate::conformance! { @clause $harness, names_at_the_edge_of_the_grammar_work }
        $crate::conformance! { @clause $harness, a_name_outside_the_grammar_is_refused }
        $crate::conformance! { @clause $harness, a_watcher_first_yields_what_is_there }
        $crate::conformance! { @clause $harness, changed_metadata_reaches_the_watcher }
        $crate::conformance! { @clause $harness, a_change_between_list_and_watch_is_not_lost }
        $crate::conformance! { @clause $harness, watchers_of_one_service_all_see_a_change }
        $crate::conformance! { @clause $harness, a_node_that_is_not_renewed_goes }
        $crate::conformance! { @clause $harness, a_large_service_comes_back_complete }
        $crate::conformance! { @clause $harness, an_id_held_by_another_boot_is_a_conflict $(, $conflict)? }
        $crate::conformance! {
            @clause $harness, a_backend_that_is_away_answers_unavailable_in_time $(, $absent)?
        }
        $crate::conformance! {
            @clause $harness, a_backend_restarted_empty_has_the_node_after_the_next_renewal $(, $restart)?
        }
        $crate::conformance! { @clause $harness, a_foreign_bad_record_hides_nothing $(, $foreign)? }
    };
}
