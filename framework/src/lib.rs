//! A framework for gRPC microservices with a pluggable registry: a team writes handlers only.

mod backends;
mod backoff;
mod client;
pub mod config;
mod context;
mod control;
mod error;
mod server;
mod service;

pub use backends::RegistrySettings;
pub use context::CallContext;
pub use error::{Error, ErrorKind, Result};
pub use micro_registry as registry;
