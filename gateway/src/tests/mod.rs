//! Whole requests, through the gateway to a server that describes itself.

mod calls;
mod hostile;
mod support;
mod versions;
