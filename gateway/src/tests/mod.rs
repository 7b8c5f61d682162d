//! Whole requests, through the gateway to a server that describes itself.

mod annotated;
mod arrivals;
mod broken_streams;
mod browser;
mod calls;
mod dashboard;
mod edge;
mod ejection;
mod foreign;
mod grpc_web;
mod guarded_web;
mod hostile;
mod hosts;
mod limits;
mod metrics;
mod served;
pub(crate) mod support;
mod tokens;
mod versions;
