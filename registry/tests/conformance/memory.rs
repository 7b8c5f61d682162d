//! The memory registry passes the suite.

use std::sync::Arc;

use async_trait::async_trait;
use micro_registry::{Memory, Registry, conformance::Harness};
use tokio::runtime::Runtime;

struct MemoryHarness {
    memory: Arc<Memory>,
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn start() -> Self {
        Self {
            memory: Arc::default(),
        }
    }

    /// There is one process only: whoever is in it holds the same registry.
    async fn process(&self) -> Arc<dyn Registry> {
        Arc::clone(&self.memory) as _
    }

    fn runtime() -> Runtime {
        super::paused()
    }
}

micro_registry::conformance! {
    MemoryHarness,
    cannot {
        a_backend_that_is_away_answers_unavailable_in_time: "memory is never away from its process",
        a_backend_restarted_empty_has_the_node_after_the_next_renewal: "memory ends with its process",
        a_foreign_bad_record_hides_nothing: "nothing but a `Node` gets into memory",
    }
}
