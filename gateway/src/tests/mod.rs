//! Whole requests, through the gateway to a server that describes itself.

mod annotated;
mod calls;
mod dashboard;
mod hostile;
mod support;
mod versions;
