//! The suite that every backend passes: registries that keep the contract pass it, and those that do not are caught.

mod caught;
mod cluster;
mod follower;
mod memory;
mod remote;
mod server;
mod sound;

use tokio::runtime::{Builder, Runtime};

/// A runtime whose time jumps: a ttl passes at once.
fn paused() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread starts")
}
