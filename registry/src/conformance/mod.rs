//! The suite that every backend passes: one test for each clause of the contract, run against the real thing.
//!
//! A backend writes a [`Harness`] and one line, in a file of its `tests/`:
//!
//! - [`Harness::start`] prepares the backend for one clause, and `Drop` stops what it started;
//!   [`Harness::process`] opens a registry handle the way one more process would. The other methods say how long the
//!   backend may take and what it has room for; each has a default to be overridden where the backend differs.
//! - [`Absent`], [`Restart`] and [`Foreign`] make the backend fail, or let others write into it.
//! - [`conformance!`](crate::conformance!) makes the tests. A clause that the backend cannot be made to do stands there
//!   with the reason, and then shows as ignored with that reason; a clause that is neither does not compile.
//!
//! The clauses are the functions of [`clauses`]; each says what holds. They wait by looking again, never longer than
//! the harness says, and end with what was being done and which nodes are missing, extra or different. Each uses
//! service names that nobody else has, so they run at the same time and on a backend that others use.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use micro_registry::{Memory, Registry, conformance::Harness};
//!
//! struct MemoryHarness(Arc<Memory>);
//!
//! #[async_trait::async_trait]
//! impl Harness for MemoryHarness {
//!     async fn start() -> Self {
//!         Self(Arc::new(Memory::default()))
//!     }
//!
//!     async fn process(&self) -> Arc<dyn Registry> {
//!         Arc::clone(&self.0) as _
//!     }
//! }
//!
//! micro_registry::conformance! {
//!     MemoryHarness,
//!     cannot {
//!         a_backend_that_is_away_answers_unavailable_in_time: "memory is never away",
//!         a_backend_restarted_empty_has_the_node_after_the_next_renewal: "memory ends with its process",
//!         a_foreign_bad_record_hides_nothing: "nothing but a `Node` gets into memory",
//!     }
//! }
//! ```

pub mod clauses;
mod harness;
mod process;
mod stage;
mod step;
mod suite;

pub use harness::{Absent, Foreign, Harness, Methods, Restart};
pub use stage::Stage;
pub use suite::{cannot, run};
