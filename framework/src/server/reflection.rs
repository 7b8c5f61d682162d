//! Reflection, v1 and v1alpha: what this server offers, told to tools that have no proto files.

use std::collections::BTreeSet;

use bytes::Bytes;
use tonic::{server::NamedService, service::RoutesBuilder};
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::{
    pb,
    server::{Builder, Error as ReflectionError},
};

use super::health::HealthService;
use crate::{Error, Result};

/// Adds both versions to `routes`, telling of `services` as far as `descriptors` know them, of health, and of itself.
pub(super) fn add_to(
    routes: &mut RoutesBuilder,
    services: &BTreeSet<String>,
    descriptors: &[Bytes],
) -> Result<()> {
    // Two versions under types of their own: the same list is told by both.
    let v1 = configure(services, descriptors).build_v1().map_err(refused)?;
    let v1alpha = configure(services, descriptors)
        .build_v1alpha()
        .map_err(refused)?;
    routes.add_service(v1).add_service(v1alpha);
    Ok(())
}

fn configure<'b>(services: &BTreeSet<String>, descriptors: &'b [Bytes]) -> Builder<'b> {
    let mut builder = Builder::configure()
        .include_reflection_service(false)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
        .with_service_name(HealthServer::<HealthService>::NAME)
        .with_service_name("grpc.reflection.v1.ServerReflection")
        .with_service_name("grpc.reflection.v1alpha.ServerReflection");
    for set in descriptors {
        builder = builder.register_encoded_file_descriptor_set(set);
    }
    for service in services {
        builder = builder.with_service_name(service);
    }
    builder
}

fn refused(error: ReflectionError) -> Error {
    Error::config("read a file descriptor set: reflection cannot tell of it").with_source(error)
}
