//! The laws every storage backend obeys, as a test suite.
//!
//! A backend's test file says where its stores live and names the suite once:
//!
//! ```ignore
//! neptune_kv_conformance::conformance!(|| TemporaryFolder::new());
//! ```
//!
//! Each law then is one `#[test]` on an empty store of its own. To add a law: write it in `laws/`, list it in
//! [`conformance!`], see it fail on a backend broken on purpose.
//!
//! Knows backends only through the trait.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "all of this crate is tests")]

pub mod laws;
mod model;
mod place;

pub use place::{Place, long, run};

/// Makes the suite's tests for one backend; takes an expression that is a `Fn() -> impl Place`.
#[macro_export]
macro_rules! conformance {
    ($make:expr) => {
        $crate::conformance! { @tests $make;
            points: an_absent_key_reads_as_none
            points: empty_keys_and_values_are_kept
            points: families_are_apart
            points: many_are_read_in_the_order_asked
            batches: an_empty_batch_is_accepted
            batches: a_batch_spans_families
            batches: an_expectation_is_exact
            batches: a_conflict_leaves_no_trace
            batches: a_batch_expects_the_state_before_it
            batches: deletes_come_first_and_the_later_put_wins
            batches: the_limits_are_those_promised
            batches: a_key_is_bounded
            batches: a_value_is_bounded
            batches: a_batch_is_bounded_in_bytes
            batches: a_batch_is_bounded_in_operations
            scans: order_is_by_unsigned_bytes
            scans: a_range_is_half_open
            scans: a_backward_range_is_empty
            scans: rows_bound_a_page
            scans: bytes_bound_a_page
            scans: limits_bound_a_page
            scans: nothing_between_two_pages_is_missed
            snapshots: a_snapshot_stands_still
            snapshots: a_snapshot_outlives_the_store
            clears: a_clear_takes_its_range_alone
            clears: a_cleared_range_can_be_written_again
            clears: a_clear_may_be_empty_or_repeated
            concurrency: of_conflicting_commits_one_wins
            concurrency: no_increment_is_lost
            concurrency: a_reader_sees_whole_batches
            concurrency: a_dropped_commit_is_whole_or_absent
            reopening: what_was_committed_is_there_again
            reopening: what_was_absent_is_absent_again
            reopening: what_was_cleared_stays_away
            reopening: a_copy_is_the_store_as_of_one_moment
            random: any_history_equals_the_model
        }
    };
    (@tests $make:expr; $($family:ident: $law:ident)*) => {
        $(
            #[test]
            fn $law() {
                $crate::laws::$family::$law($make);
            }
        )*
    };
}
