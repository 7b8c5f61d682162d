//! The contract between the framework and its registries: what a node is, and what a registry promises.
//!
//! Users of micro meet [`Node`], [`Address`] and [`Snapshot`], and choose a registry by name. This page is for whoever
//! writes one. A backend is a crate that depends on this one alone; two registries live here, because they need no
//! server: [`Memory`], private to the process and a good one to read, and [`Static`], a fixed list of addresses.
//!
//! # What a backend is
//!
//! A backend is mechanism: it announces, withdraws, lists, and follows until an error. What its protocol needs to hold
//! a registration or a watch (a keep-alive stream, a blocking query, a resync timer, a login) belongs to it, is owned
//! by the handle or the [`Watcher`], and stops when that is dropped. Policy is written once, in the framework: it renews
//! every third of a ttl, backs off, keeps the last good snapshot, and tries again. So a backend retries nothing, serves
//! no old answers, and lets errors out.
//!
//! The constructor checks its settings and touches no network; the first call connects. All calls run on the framework's
//! control runtime, which may have a single thread: none may block it, and any may be dropped half-way when its time is
//! up.
//!
//! # Records
//!
//! A file `record.rs`, and nothing else, knows how a node is stored. It writes what [`Node`]'s getters give, with
//! [`Node::stored_metadata`], so that [`Node::boot`] is kept as [`BOOT_KEY`]. Where there is no room for the methods,
//! they are left out as a whole ([`Node::without_methods`]), with one debug line.
//!
//! What it reads is untrusted: anybody can write into a registry. Building the types is the check. A record of which no
//! node can be made is skipped, with a warning by [`SkippedRecords`], and hides no other. One that was good before may stay
//! the node that it was: [`Kept`] has it from one watch to the next.
//!
//! ```
//! use micro_registry::{Address, Node, Result, ServiceName, SkippedRecords, Snapshot};
//!
//! /// A record as it came: an id, a host and a port.
//! type Record = (&'static str, &'static str, i64);
//!
//! fn read(service: &ServiceName, (id, host, port): Record) -> Result<Node> {
//!     Node::builder(service.clone(), id, Address::new(host, port)?).build()
//! }
//!
//! # fn main() -> Result<()> {
//! let service: ServiceName = "greeter".parse()?;
//! let records = [("greeter-1", "10.0.0.1", 9090), ("greeter-2", "http://evil/", 80), ("greeter-3", "::1", 70_000)];
//! let skipped = SkippedRecords::new("example");
//! let nodes = records.into_iter().filter_map(|record| {
//!     read(&service, record).map_err(|error| skipped.skip(record.0, &error)).ok()
//! });
//! let snapshot = Snapshot::new(nodes.map(Into::into));
//! assert_eq!(snapshot.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Announcing
//!
//! [`Registry::register`] is called again and again: each call renews, replaces what is stored by what is given, and
//! restores what the backend lost, so it never trusts its own memory of having registered. An id that another boot holds
//! is a [`ErrorKind::Conflict`], and [`Registry::deregister`] leaves it alone.
//!
//! # Listing and following
//!
//! Whole [`Snapshot`]s cross the border, never "add this, drop that"; equal ones compare equal and are sent once. A
//! watch is a list, and then what changed since that list, without a gap. [`Watcher::spawn`] owns the task; its error is
//! the watcher's last word. [`Registry`] says it method by method.
//!
//! # Errors
//!
//! An [`Error`] says what was being done, and keeps its cause; its [`ErrorKind`] decides what happens next:
//!
//! | kind | what the framework does |
//! |---|---|
//! | [`InvalidArgument`](ErrorKind::InvalidArgument), [`Unauthenticated`](ErrorKind::Unauthenticated), [`PermissionDenied`](ErrorKind::PermissionDenied) | ends a service that starts: trying again is useless |
//! | [`Conflict`](ErrorKind::Conflict) | warns, stays not ready, tries again, and gives up after twice the ttl |
//! | [`Unavailable`](ErrorKind::Unavailable), [`Protocol`](ErrorKind::Protocol) | keeps what it has, and tries again with backoff |
//!
//! # Showing that it holds
//!
//! The feature `conformance` brings `micro_registry::conformance`: a backend writes a harness of some 50 lines and one
//! macro line, and has a test for each clause of the contract, run against the real thing.

mod address;
#[cfg(feature = "go-micro")]
pub mod bounded;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
mod fixed;
// The decoders are private, and only a fuzzer calls them from outside: see `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "go-micro")]
pub mod go_micro;
mod kept;
mod memory;
mod method;
mod name;
mod node;
mod recent;
mod registry;
mod skipped;
mod snapshot;
mod watcher;

pub use address::{Address, Host};
pub use error::{Error, ErrorKind, Result};
pub use fixed::Static;
pub use kept::{Kept, Lent};
pub use memory::Memory;
pub use method::{Idempotency, Method};
pub use name::ServiceName;
pub use node::{BOOT_KEY, Node, NodeBuilder, TLS_KEY};
pub use recent::Recent;
pub use registry::Registry;
pub use skipped::SkippedRecords;
pub use snapshot::Snapshot;
pub use watcher::{WatchSender, Watcher};
