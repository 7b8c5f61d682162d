//! The client against nodes that do as they are told, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod deadlines;
mod discovery;
mod documented;
mod faults;
mod health;
mod hops;
mod picking;
mod policies;
mod reach;
mod retries;
mod spans;
mod streams;
mod support;
mod telemetry;
mod unsent;
