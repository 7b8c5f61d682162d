//! What a backend tells the suite about itself.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::runtime::{Builder, Runtime};

use crate::{Address, Registry, ServiceName};

/// Opens registry handles for the clauses, and says what the backend has room for.
///
/// Each clause has a harness of its own, made by [`start`](Self::start) and dropped at its end: what a harness started
/// it stops in `Drop`. Clauses run at the same time and use service names that nobody else has, so they may share a
/// backend; a harness that cannot share one holds a lock from `start` on.
#[async_trait]
pub trait Harness: Sized + Send + Sync + 'static {
    /// Prepares the backend for one clause.
    async fn start() -> Self;

    /// A fresh handle on the same backend, as one more process would open it.
    async fn process(&self) -> Arc<dyn Registry>;

    /// Whether the backend keeps a node's methods. Default: it does.
    fn methods(&self) -> Methods {
        Methods::Kept
    }

    /// The addresses that a node may have here. Default: IPv4, IPv6 and a host name.
    fn addresses(&self) -> Vec<Address> {
        ["127.0.0.1:9090", "[2001:db8::1]:9090", "orders.internal:9090"]
            .map(|text| text.parse().expect("the addresses above are good"))
            .into()
    }

    /// How many nodes of one service come back complete. Default: 1,000.
    fn nodes_max(&self) -> usize {
        1_000
    }

    /// The shortest ttl that the backend keeps to. Default: 3 s.
    fn ttl_min(&self) -> Duration {
        Duration::from_secs(3)
    }

    /// How long a change may take until every process sees it. Default: 20 s.
    fn change_within(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// How long after its ttl a node that is not renewed may still be seen. Default: 30 s.
    fn gone_within(&self) -> Duration {
        Duration::from_secs(30)
    }

    /// How long [`nodes_max`](Self::nodes_max) nodes may take until every process sees them all. Default: 120 s.
    fn complete_within(&self) -> Duration {
        Duration::from_secs(120)
    }

    /// How long after a failure of the backend the truth may take to be seen. Default: 120 s.
    fn healed_within(&self) -> Duration {
        Duration::from_secs(120)
    }

    /// The runtime that the clause runs on. Default: like the framework's control runtime, of one thread.
    #[must_use]
    fn runtime() -> Runtime {
        Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime of one thread starts")
    }
}

/// Whether a backend keeps a node's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// They come back as they were registered.
    Kept,
    /// The backend has no room for them: they are left out as a whole.
    LeftOut,
}

/// A backend that can be away.
#[async_trait]
pub trait Absent: Harness {
    /// A handle, opened just now, on a backend that cannot be reached for as long as the harness lives.
    async fn absent(&self) -> Arc<dyn Registry>;
}

/// A backend that can fail and lose everything.
#[async_trait]
pub trait Restart: Harness {
    /// Stops the backend at once, without telling it; returns once nobody answers any more.
    async fn stop(&self);

    /// Wipes what the stopped backend stored, and starts it at the same place; returns once it answers again.
    async fn start_empty(&self);
}

/// A backend into which other programs can write.
#[async_trait]
pub trait Foreign: Harness {
    /// Writes records of `service` that no [`Node`](crate::Node) can be made of, one for each way of being bad, past
    /// the registry; answers how many. They stay for as long as the harness lives.
    async fn write_bad_records(&self, service: &ServiceName) -> usize;
}
