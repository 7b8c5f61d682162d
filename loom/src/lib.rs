//! Models of what calls share across threads: loom runs each over all interleavings, and all orders in which memory may
//! be seen.
//!
//! What is modelled is the framework's own code, the very files, which take their atomics from `crate::sync`: there
//! they are the standard library's, here they are loom's. A model that cannot go on, as a wake-up was lost, fails.

#![allow(
    dead_code,
    reason = "the files of the framework have more than what is shared across threads"
)]

#[path = "../../framework/src/client/budget.rs"]
mod budget;
#[path = "../../framework/src/client/load.rs"]
mod load;
pub mod models;
mod notify;
#[path = "../../framework/src/client/room.rs"]
mod room;
#[path = "../../framework/src/client/streak.rs"]
mod streak;
#[path = "../../framework/src/client/streams.rs"]
mod streams;

/// What the framework's files take from their crate.
#[cfg(not(test))]
mod sync {
    pub(crate) use loom::sync::atomic;

    pub(crate) use crate::notify::{Notified, Notify};
}

/// Those files bring tests of their own, which are no models.
#[cfg(test)]
#[path = "../../framework/src/sync.rs"]
mod sync;
