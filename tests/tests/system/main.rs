//! Whole systems: the command, services in processes of their own, real mDNS on loopback.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod failures;
mod main_job;
mod rotation;
mod stops;
mod support;
