//! Configuration: what stands in `micro.toml` and in the environment, and what it means.
//!
//! Later wins: defaults, code, the file, the environment. The file is `micro.toml` in the working directory, or what
//! `MICRO_CONFIG` names; it need not exist. A variable that is not set, or is empty, changes nothing. A key that is
//! unknown, and a value that is not allowed, are errors that list what is possible.
//!
//! | variable | key |
//! |---|---|
//! | `MICRO_REGISTRY` | `registry.kind` |
//! | `MICRO_REGISTRY_ADDRESS` | `registry.address`, separated by commas |
//! | `MICRO_REGISTER_TTL` | `registry.ttl` |
//! | `MICRO_SERVER_NAME` | `server.name` |
//! | `MICRO_SERVER_VERSION` | `server.version` |
//! | `MICRO_SERVER_ID` | `server.id` |
//! | `MICRO_SERVER_ADDRESS` | `server.address` |
//! | `MICRO_SERVER_ADVERTISE` | `server.advertise` |
//! | `MICRO_SERVER_METADATA` | `server.metadata`, as `key=value,…`, added to that of the file key by key |
//! | `MICRO_CLIENT_REQUEST_TIMEOUT` | `client.request_timeout` |
//! | `MICRO_CLIENT_RETRIES` | `client.retries` |
//! | `MICRO_CLIENT_OWN_LOOPBACK` | `client.own_loopback` |
//! | `CONSUL_HTTP_ADDR` | `consul.address` |
//! | `CONSUL_HTTP_TOKEN_FILE` | `consul.token_file` |
//! | `CONSUL_HTTP_TOKEN` | `consul.token` |
//! | `CONSUL_HTTP_SSL` | `consul.https` |
//! | `CONSUL_CACERT` | `consul.ca_file` |
//! | `CONSUL_CLIENT_CERT` | `consul.client_certificate_file` |
//! | `CONSUL_CLIENT_KEY` | `consul.client_key_file` |
//! | `ETCDCTL_ENDPOINTS` | `etcd.address` |
//! | `ETCD_USERNAME` | `etcd.user` |
//! | `ETCD_PASSWORD` | `etcd.password` |
//! | `ETCDCTL_USER` | `etcd.user`, or both as `user:password`; of no effect beside `ETCD_USERNAME` |
//! | `ETCDCTL_PASSWORD` | `etcd.password`; of no effect beside `ETCD_PASSWORD` |
//! | `ETCDCTL_CACERT` | `etcd.ca_file` |
//! | `ETCDCTL_CERT` | `etcd.client_certificate_file` |
//! | `ETCDCTL_KEY` | `etcd.client_key_file` |
//! | `OTEL_EXPORTER_OTLP_ENDPOINT` | `telemetry.otlp.endpoint` |
//! | `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` | `telemetry.otlp.traces_endpoint` |
//! | `OTEL_EXPORTER_OTLP_METRICS_ENDPOINT` | `telemetry.otlp.metrics_endpoint` |
//! | `OTEL_EXPORTER_OTLP_HEADERS` | `telemetry.otlp.headers` |
//! | `OTEL_EXPORTER_OTLP_PROTOCOL` | `telemetry.otlp.protocol` |
//! | `OTEL_EXPORTER_OTLP_CERTIFICATE` | `telemetry.otlp.ca_file` |
//! | `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` | `telemetry.otlp.client_certificate_file` |
//! | `OTEL_EXPORTER_OTLP_CLIENT_KEY` | `telemetry.otlp.client_key_file` |
//! | `OTEL_SERVICE_NAME` | `telemetry.otlp.service_name` |
//!
//! Durations are written `30s`, `1m 30s`, `500ms`, or as a bare number of seconds. Sizes are bytes. The table `[run]`
//! belongs to `micro run`, and `[gateway]` to `micro gateway`. Everything that can be set, with its default where it has one:
//!
//! ```toml
#![doc = include_str!("reference.toml")]
//! ```

mod apply;
mod consul;
mod env;
mod etcd;
mod file;
mod node;
mod otlp;
mod secret;
mod tls;
mod typed;
mod value;

use std::{fmt, path::PathBuf};

use ::config::{Config, Value, ValueKind};

pub(crate) use consul::Consul;
pub(crate) use env::Environment;
pub(crate) use etcd::Etcd;
#[cfg(feature = "otel")]
pub(crate) use otlp::Otlp;
pub(crate) use value::DURATION_MAX;

use self::{file::File, typed::Typed};
use crate::{Error, Result};

/// What file and environment say, to be laid over what code says.
pub(crate) struct Loaded {
    typed: Typed,
    cache: Value,
    file: Option<PathBuf>,
}

impl Loaded {
    /// Reads the file and the environment.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the file cannot be read, or has a key or a value that is not
    /// allowed; the message names the file and the key, or the variable, and what is possible.
    pub(crate) fn load(environment: &Environment) -> Result<Self> {
        let file = File::find(environment)?;
        let mut builder = Config::builder();
        if let Some(file) = &file {
            file.check()?;
            builder = builder.add_source(file.source());
        }
        for (key, value) in environment.values()? {
            builder = builder
                .set_override(key, value)
                .map_err(|error| Error::config(format!("set `{key}`")).with_source(error))?;
        }
        let merged = builder
            .build()
            .map_err(|error| Error::config("merge the file and the environment").with_source(error))?;
        let cache = merged.cache.clone();
        let path = file.map(|file| file.path);
        // The file is fine by itself, so what is wrong now came from a variable.
        let typed = merged
            .try_deserialize()
            .map_err(|error| file::explain(&error, |key| env::variable_of(key).to_owned()))?;
        Ok(Self {
            typed,
            cache,
            file: path,
        })
    }

    /// Where `key` was set: the variable, or the file and the key; `None` when it was not.
    pub(crate) fn place(&self, key: &str) -> Option<String> {
        let value = look(&self.cache, key)?;
        // Values from variables know their name; those from the file do not.
        let variable = value.origin().map(str::to_owned);
        let in_file = || Some(format!("{}: {key}", self.file.as_ref()?.display()));
        variable.or_else(in_file)
    }
}

/// Whence, not what: a secret may be among it.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

fn look<'a>(cache: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(cache, |value, part| match &value.kind {
        ValueKind::Table(table) => table.get(part),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
