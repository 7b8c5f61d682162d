//! What somebody at a terminal sees: the real binary, against real servers.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod bench;
mod call;
#[cfg(target_os = "linux")]
mod colours;
mod completions;
mod gateway;
mod gateway_tls;
#[cfg(target_os = "linux")]
mod greeter;
mod look;
mod new;
mod run;
mod running;
mod snapshots;
mod support;
