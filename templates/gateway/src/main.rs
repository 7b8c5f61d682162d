//! The gateway `{{service_name}}`: what it exports, and its life.

#[cfg(test)]
mod tests;

use std::{
    env,
    error::Error,
    fs,
    io::{self, IsTerminal as _},
    path::PathBuf,
};

use micro::{Service, ServiceBuilder};
use micro_gateway::{Gateway, Settings};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// The name in the registry.
const NAME: &str = "{{service_name}}";
/// Where it listens unless `micro.toml` or MICRO_SERVER_ADDRESS says otherwise.
const ADDRESS: &str = "127.0.0.1:8080";

/// What is the gateway's own in `micro.toml`.
#[derive(Deserialize)]
struct File {
    gateway: Settings,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stdout().is_terminal() && !is_plain)
        // Else what cannot be logged is told on standard error, and where that is full, too, by a panic.
        .log_internal_errors(false)
        .init();
    Ok(service(settings()?).build()?.run().await?)
}

/// The table `[gateway]` of the file that the framework reads, too.
fn settings() -> Result<Settings, Box<dyn Error>> {
    let path = env::var_os("MICRO_CONFIG").filter(|path| !path.is_empty());
    let path = path.map_or_else(|| PathBuf::from("micro.toml"), PathBuf::from);
    let shown = path.display();
    let text = fs::read_to_string(&path).map_err(|error| format!("read `{shown}`: {error}"))?;
    let file: File = toml::from_str(&text).map_err(|error| format!("`{shown}`: {error}"))?;
    Ok(file.gateway)
}

/// Everything the gateway is made of; checks, layers and hooks of your own go here. The tests run the same.
fn service(settings: Settings) -> ServiceBuilder {
    Service::builder(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .address(ADDRESS)
        .web(move |cx| Gateway::new(&cx.client(), settings))
}
