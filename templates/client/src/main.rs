//! The service `{{service_name}}`, which calls `{{callee_name}}`: what it is made of, and its life.

mod handler;
#[cfg(test)]
mod tests;

/// What the proto files say, as Rust.
mod proto {
    micro::include_proto!();

    /// What this service answers.
    pub use self::{{crate_name}} as own;

    /// What the service that it calls answers.
    pub use self::{{callee_crate_name}} as callee;
}

use std::{
    env,
    io::{self, IsTerminal as _},
};

use micro::{Service, ServiceBuilder};
use tracing_subscriber::EnvFilter;

use handler::Handler;
use proto::own::reception_server::ReceptionServer;

/// The name in the registry.
const NAME: &str = "{{service_name}}";
/// The service that is called.
const CALLEE: &str = "{{callee_name}}";

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
        .add_service_with(|cx| ReceptionServer::new(Handler::new(cx.client().channel(CALLEE))))
        .descriptors(proto::own::FILE_DESCRIPTOR_SET)
}
