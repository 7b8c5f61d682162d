//! The contract between the framework and its registries: what a node is, and what a registry promises.
//!
//! A backend depends on this crate alone. It announces, withdraws, lists and follows; policy (renewing, backing off,
//! caching, retrying) is the framework's. Two registries live here, because they need no server: [`Memory`], private
//! to the process, and [`Static`], a fixed list of addresses.

mod address;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod fixed;
mod memory;
mod method;
mod name;
mod node;
mod registry;
mod skipped;
mod snapshot;
mod watcher;

pub use address::{Address, Host};
pub use error::{Error, ErrorKind, Result};
pub use fixed::Static;
pub use memory::Memory;
pub use method::{Idempotency, Method};
pub use name::ServiceName;
pub use node::{BOOT_KEY, Node, NodeBuilder};
pub use registry::Registry;
pub use skipped::SkippedRecords;
pub use snapshot::Snapshot;
pub use watcher::{WatchSender, Watcher};
