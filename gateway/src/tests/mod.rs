//! Whole requests, through the gateway to a server that describes itself.

mod annotated;
mod calls;
mod hostile;
mod support;
mod versions;
