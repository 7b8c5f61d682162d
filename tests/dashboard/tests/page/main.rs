//! The dashboard as people see it: in a real browser, of services that run.

#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod calls;
mod hostile;
mod live;
mod looks;
mod states;
mod support;
mod tokens;
