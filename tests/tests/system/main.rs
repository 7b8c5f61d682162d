//! Whole systems: the command, services in processes of their own, real registries on loopback.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod absent;
mod conflicts;
mod failures;
mod files;
mod gateway;
mod gateway_faults;
mod go_micro;
mod loopback;
mod main_job;
mod registries;
mod rotation;
mod stops;
mod support;
mod world;
