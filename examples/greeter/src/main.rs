//! The service `greeter`, the one to copy: what it is made of, and its life.

mod handler;
#[cfg(test)]
mod tests;

/// What `proto/greeter.proto` says, as Rust.
mod greeter {
    micro::include_proto!("greeter");
}

use std::{
    env,
    io::{self, IsTerminal as _},
};

use greeter::say_server::SayServer;
use handler::Greeter;
use micro::{Service, ServiceBuilder};
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
    Service::builder("greeter")
        .version(env!("CARGO_PKG_VERSION"))
        .add_service_with(|cx| SayServer::new(Greeter::new(cx.id())))
        .descriptors(greeter::FILE_DESCRIPTOR_SET)
}
