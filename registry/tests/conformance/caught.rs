//! Each clause catches the registry that breaks it, and says how.

use micro_registry::conformance::{clauses, run};

use crate::{
    cluster::{Cluster, Defect},
    server::Fault,
};

macro_rules! caught {
    ($($name:ident: $fault:ident by $clause:ident, $message:literal;)+) => {
        $(
            #[test]
            #[should_panic(expected = $message)]
            fn $name() {
                struct Broken;

                impl Defect for Broken {
                    const FAULT: Fault = Fault::$fault;
                }

                run::<Cluster<Broken>>(stringify!($clause), clauses::$clause);
            }
        )+
    };
}

caught! {
    a_node_without_its_boot: LosesBoot by a_registered_node_is_found, "1 nodes, expected are 1\n  found: ";
    only_the_last_node_is_kept: KeepsLast by several_nodes_of_one_service_are_all_kept, "  missing: ";
    ids_are_compared_without_case: FoldsCase by several_nodes_of_one_service_are_all_kept, "`conflict`: ";
    deregistering_does_nothing: NeverDeregisters by deregistering_twice_is_fine, "  not expected: ";
    deregistering_nobody_is_an_error: MissesDeregistered by deregistering_twice_is_fine, "`protocol error`: ";
    nobody_is_an_error: EmptyIsAnError by an_unknown_service_is_an_empty_snapshot, "`protocol error`: ";
    services_are_matched_by_prefix: MatchesPrefix by a_service_does_not_see_one_whose_name_begins_with_its_own,
        "expected are 1\n";
    a_service_without_nodes_stays: KeepsNames by services_are_listed_while_they_have_a_node, "miss `";
    text_is_decoded_once_too_often: Decodes by metadata_with_marks_and_spaces_survives, "  found: ";
    some_methods_are_left_out: KeepsUnary by methods_are_kept_or_left_out_as_a_whole, "  found: ";
    any_name_is_taken: TakesAnyName by a_name_outside_the_grammar_is_refused, "expected is `invalid argument`";
    a_watcher_first_yields_nobody: FirstEmpty by a_watcher_first_yields_what_is_there, "0 of 3 nodes";
    a_watcher_first_yields_one: FirstOne by a_watcher_first_yields_what_is_there, "1 of 3 nodes";
    a_change_of_metadata_is_no_change: ComparesIds by changed_metadata_reaches_the_watcher, "nothing came within 20s";
    a_gap_before_the_watch: Gap by a_change_between_list_and_watch_is_not_lost, "  missing: ";
    a_second_watcher_ends_the_first: OneWatcher by watchers_of_one_service_all_see_a_change,
        "it ended without an error";
    a_ttl_never_ends: NeverExpires by a_node_that_is_not_renewed_goes, "  not expected: ";
    a_ttl_ends_early: ExpiresEarly by a_node_that_is_not_renewed_goes, "its ttl is 3s, it went after";
    a_renewal_is_not_one: NeverRenews by a_node_that_is_not_renewed_goes, "its ttl is 3s, it went after";
    a_list_is_one_page_long: OnePage by a_large_service_comes_back_complete, "500 nodes, expected are 1000";
    a_held_id_is_taken_over: TakesOver by an_id_held_by_another_boot_is_a_conflict, "expected is a conflict";
    a_held_id_is_deregistered: DeregistersOthers by an_id_held_by_another_boot_is_a_conflict, "  missing: ";
    nobody_is_there_while_away: AwayIsEmpty by a_backend_that_is_away_answers_unavailable_in_time,
        "expected is `unavailable`, not Ok";
    no_answer_while_away: AwayHangs by a_backend_that_is_away_answers_unavailable_in_time, "no answer within 20s";
    a_bad_name_is_sent: ChecksLate by a_backend_that_is_away_answers_unavailable_in_time,
        "expected is `invalid argument`, not `unavailable`";
    a_known_node_is_not_sent_again: SendsOnce by
        a_backend_restarted_empty_has_the_node_after_the_next_renewal, "  missing: ";
    a_watcher_sleeps_through_a_restart: Deaf by
        a_backend_restarted_empty_has_the_node_after_the_next_renewal, "it neither ended nor yielded";
    a_bad_record_is_an_error: BadIsAnError by a_foreign_bad_record_hides_nothing, "`protocol error`: ";
    a_bad_record_ends_the_list: BadEndsList by a_foreign_bad_record_hides_nothing, "  missing: ";
}
