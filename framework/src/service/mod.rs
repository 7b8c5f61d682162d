//! The service: builds what a user asked for, and runs it from the first hook to the last.

#![allow(
    dead_code,
    reason = "the builder that uses these parts is the next thing to be written"
)]

mod address;
mod announcer;
mod identity;
mod pulse;
mod settings;
#[cfg(test)]
mod testing;

pub(crate) use address::{Advertise, Listen};
pub(crate) use identity::Identity;
pub(crate) use settings::Settings;
