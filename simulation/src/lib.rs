//! Real clients and real services over a simulated network: faults strike as a seed says, and what must hold is held
//! against what happened.
//!
//! Every host has a runtime of its own on one thread, whose clock moves on in ticks, so that a minute takes less than a
//! second and the same seed does the same again. Nothing here knows the inside of the framework: connections come from
//! a [`Connect`](micro::Connect) and a [`Listener`](micro::Listener), the registry is one of the simulation's own.

mod directory;
mod fault;
mod hosts;
mod network;
mod plan;
mod run;
mod scenarios;
mod service;
mod verdict;
mod world;

pub use self::{
    run::{Report, run},
    scenarios::{SCENARIOS, Scenario},
};
