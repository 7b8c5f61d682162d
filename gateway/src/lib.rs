//! HTTP and JSON in front of the services of a registry.
//!
//! `POST /greeter/say/hello` with `{"name":"Ada"}` calls `Say.Hello` of the service `greeter`, by Go Micro's rule of paths.
//! Only what [`Settings`] export can be reached. What the methods and their messages are, the nodes tell by reflection;
//! calls go through the framework's client, so that dead nodes are not picked and a rolling restart loses no call.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = micro_gateway::Settings::exporting(["greeter"])?;
//! micro_gateway::service(settings).address("127.0.0.1:8080").build()?.run().await?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod answer;
mod binding;
mod bindings;
mod call;
mod compression;
mod cors;
mod dashboard;
mod edition;
mod export;
mod exported;
mod fault;
mod fields;
mod find;
mod follow;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod gateway;
mod grpc_web;
mod headers;
mod http_rule;
mod names;
mod nodes;
mod openapi;
mod path;
mod proxies;
mod query;
mod rate;
mod request;
mod segments;
mod settings;
mod site;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod tokens;
mod told;
mod unary;
mod unique;
mod witness;

pub use self::{
    export::{Export, ExportError},
    gateway::{Gateway, service},
    settings::Settings,
};
