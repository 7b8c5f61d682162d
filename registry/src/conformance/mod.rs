//! The suite that every backend passes: one test for each clause of the contract, run against the real thing.
//!
//! A backend writes a [`Harness`], which opens registry handles the way one more process would, and one line. What it
//! can be made to do, it says by implementing [`Absent`], [`Restart`] and [`Foreign`]; what it cannot, it says in the
//! macro, with the reason, and the clause then shows as ignored with that reason. Neither does not compile.
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
