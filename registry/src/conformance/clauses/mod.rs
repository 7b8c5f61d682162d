//! The clauses of the contract, one function each; [`conformance!`](crate::conformance!) makes a test of each.

mod faults;
mod listing;
mod records;
mod watching;

use std::panic;

use tokio::task::JoinSet;

pub use faults::{
    a_backend_restarted_empty_has_the_node_after_the_next_renewal,
    a_backend_that_is_away_answers_unavailable_in_time, a_foreign_bad_record_hides_nothing,
    a_node_that_is_not_renewed_goes, an_id_held_by_another_boot_is_a_conflict,
};
pub use listing::{
    a_large_service_comes_back_complete, a_registered_node_is_found,
    a_service_does_not_see_one_whose_name_begins_with_its_own, an_unknown_service_is_an_empty_snapshot,
    deregistering_twice_is_fine, registering_twice_keeps_one, services_are_listed_while_they_have_a_node,
    several_nodes_of_one_service_are_all_kept,
};
pub use records::{
    a_name_outside_the_grammar_is_refused, every_form_of_address_survives,
    metadata_with_marks_and_spaces_survives, methods_are_kept_or_left_out_as_a_whole,
    names_at_the_edge_of_the_grammar_work,
};
pub use watching::{
    a_change_between_list_and_watch_is_not_lost, a_watcher_first_yields_what_is_there,
    changed_metadata_reaches_the_watcher, watchers_of_one_service_all_see_a_change,
};

/// Waits for all tasks; the first that panics ends the clause with its message.
async fn join_all(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(panicked) = ended {
            panic::resume_unwind(panicked.into_panic());
        }
    }
}
