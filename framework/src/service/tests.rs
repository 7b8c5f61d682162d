//! The whole life of a service: its order, its failures, its limits.

mod building;
mod checks;
mod failures;
mod limits;
mod order;
mod registries;
mod stalls;
mod support;
