//! A framework for gRPC microservices with a pluggable registry: a team writes handlers only.

mod backends;
mod backoff;
mod client;
pub mod config;
mod context;
mod control;
mod descriptors;
mod error;
mod gather;
mod grpc_timeout;
mod server;
mod service;
mod sync;
mod telemetry;
mod tls;

pub use backends::RegistrySettings;
pub use client::{
    Balancer, CallInfo, CallOptions, Candidate, Channel, Client, ClientBuilder, Connect, Connecting,
    CustomPolicy, EndpointState, EndpointStatus, Io, Peer, Pick, Policy, ResponseFuture, ServiceStatus,
};
pub use context::CallContext;
pub use error::{Error, ErrorKind, Result};
pub use micro_registry as registry;
/// The library that generated messages are made with; `prost::Message` encodes and decodes them.
pub use prost;
/// The messages of `google/protobuf/*.proto`, such as `Timestamp`.
pub use prost_types;
pub use server::{HttpRoute, Listener};
pub use service::{Outcome, Service, ServiceBuilder, ServiceContext};
#[cfg(feature = "otel")]
pub use telemetry::Otlp;
pub use telemetry::Telemetry;
#[cfg(feature = "tls")]
pub use tls::Caller;

/// What generated code needs and nobody else.
#[doc(hidden)]
pub mod __private {
    pub use tonic_prost::ProstCodec;
}

/// Takes in what `micro_build::compile` generated in the build script.
///
/// With the name of a proto package: its messages, clients and servers, and `FILE_DESCRIPTOR_SET`, the descriptors of
/// the package and of what it imports. Files without a package are `"_"`.
///
/// ```ignore
/// pub mod greeter {
///     micro::include_proto!("greeter");
/// }
/// use greeter::{HelloRequest, say_client::SayClient};
/// ```
///
/// Without a name: every package that was compiled, imported ones included, each in a module of its own path. Packages
/// that use each other's messages find each other that way.
///
/// ```ignore
/// pub mod proto {
///     micro::include_proto!();
/// }
/// use proto::shop::{common::v1::Money, orders::v1::Order};
/// ```
#[macro_export]
macro_rules! include_proto {
    () => {
        $crate::include_proto!("micro_packages");
    };
    ($package:literal) => {
        include!(concat!(
            env!(
                "OUT_DIR",
                "`include_proto!` needs a build.rs that calls `micro_build::compile`"
            ),
            "/",
            $package,
            ".rs"
        ));
    };
}

/// What docs/calling.md shows is compiled.
#[cfg(doctest)]
#[doc = include_str!("../../docs/calling.md")]
struct Calling;
