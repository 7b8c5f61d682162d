//! The service `welcome`, which calls another: it finds the greeter by name, and its caller's deadline travels on.

mod handler;
#[cfg(test)]
mod tests;

/// What the proto files say, as Rust: `proto::welcome` and `proto::greeter`.
mod proto {
    micro::include_proto!();
}

use std::{
    env,
    io::{self, IsTerminal as _},
};

use handler::Receptionist;
use micro::{Service, ServiceBuilder};
use proto::welcome::reception_server::ReceptionServer;
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> micro::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stdout().is_terminal() && !is_plain)
        // Else what cannot be logged is told on standard error, and where that is full, too, by a panic.
        .log_internal_errors(false)
        .init();
    service().build()?.run().await
}

/// Everything the service is made of; the tests run the same.
fn service() -> ServiceBuilder {
    Service::builder("welcome")
        .version(env!("CARGO_PKG_VERSION"))
        .add_service_with(|cx| {
            ReceptionServer::new(Receptionist::new(cx.id(), cx.client().channel("greeter")))
        })
        .descriptors(proto::welcome::FILE_DESCRIPTOR_SET)
}
