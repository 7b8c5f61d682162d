//! The service `{{service_name}}`: what it is made of, and its life.

mod handler;
#[cfg(test)]
mod tests;

/// What the proto file says, as Rust.
mod proto {
    micro::include_proto!("{{crate_name}}");
}

use std::{
    env,
    io::{self, IsTerminal as _},
};

use micro::{Service, ServiceBuilder};
use tracing_subscriber::EnvFilter;

use handler::Handler;
use proto::say_server::SayServer;

/// The name in the registry.
const NAME: &str = "{{service_name}}";

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

/// Everything the service is made of; hooks, checks and more services go here. The tests run the same.
fn service() -> ServiceBuilder {
    Service::builder(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .add_service(SayServer::new(Handler))
        .descriptors(proto::FILE_DESCRIPTOR_SET)
}
