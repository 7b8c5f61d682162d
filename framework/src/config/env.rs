//! The only place that reads the environment: one table of exact names.

use std::{collections::BTreeMap, env, fmt};

use ::config::{Value, ValueKind};
use tracing::debug;

use super::node;
use crate::{Error, Result};

/// Names the file to read instead of `micro.toml`.
pub(super) const FILE: &str = "MICRO_CONFIG";

const PREFIX: &str = "MICRO_";

/// Each variable and the key that it sets.
pub(super) const TABLE: [(&str, &str); 36] = [
    ("MICRO_REGISTRY", "registry.kind"),
    ("MICRO_REGISTRY_ADDRESS", "registry.address"),
    ("MICRO_REGISTER_TTL", "registry.ttl"),
    ("MICRO_SERVER_NAME", "server.name"),
    ("MICRO_SERVER_VERSION", "server.version"),
    ("MICRO_SERVER_ID", "server.id"),
    ("MICRO_SERVER_ADDRESS", "server.address"),
    ("MICRO_SERVER_ADVERTISE", "server.advertise"),
    ("MICRO_SERVER_METADATA", METADATA),
    ("MICRO_CLIENT_REQUEST_TIMEOUT", "client.request_timeout"),
    ("MICRO_CLIENT_RETRIES", "client.retries"),
    ("MICRO_CLIENT_OWN_LOOPBACK", "client.own_loopback"),
    // Consul's own; of two keys that begin alike the longer comes first.
    ("CONSUL_HTTP_ADDR", "consul.address"),
    ("CONSUL_HTTP_TOKEN_FILE", "consul.token_file"),
    ("CONSUL_HTTP_TOKEN", "consul.token"),
    ("CONSUL_HTTP_SSL", "consul.https"),
    ("CONSUL_CACERT", "consul.ca_file"),
    ("CONSUL_CLIENT_CERT", "consul.client_certificate_file"),
    ("CONSUL_CLIENT_KEY", "consul.client_key_file"),
    // etcd's, as its own command and as Go Micro name them; of two variables for one key the later counts.
    ("ETCDCTL_ENDPOINTS", "etcd.address"),
    (ETCDCTL_USER, USER),
    ("ETCDCTL_PASSWORD", PASSWORD),
    ("ETCD_USERNAME", USER),
    ("ETCD_PASSWORD", PASSWORD),
    ("ETCDCTL_CACERT", "etcd.ca_file"),
    ("ETCDCTL_CERT", "etcd.client_certificate_file"),
    ("ETCDCTL_KEY", "etcd.client_key_file"),
    // OpenTelemetry's.
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp.endpoint"),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "telemetry.otlp.traces_endpoint",
    ),
    (
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
        "telemetry.otlp.metrics_endpoint",
    ),
    ("OTEL_EXPORTER_OTLP_HEADERS", "telemetry.otlp.headers"),
    ("OTEL_EXPORTER_OTLP_PROTOCOL", "telemetry.otlp.protocol"),
    ("OTEL_EXPORTER_OTLP_CERTIFICATE", "telemetry.otlp.ca_file"),
    (
        "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
        "telemetry.otlp.client_certificate_file",
    ),
    ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "telemetry.otlp.client_key_file"),
    ("OTEL_SERVICE_NAME", "telemetry.otlp.service_name"),
];

/// The one key whose variable holds pairs.
const METADATA: &str = "server.metadata";

/// The one variable that may set two keys: `user`, or `user:password`.
const ETCDCTL_USER: &str = "ETCDCTL_USER";
const USER: &str = "etcd.user";
const PASSWORD: &str = "etcd.password";

/// The variables to read: those of the process, or a set of one's own.
#[derive(Clone, Default)]
pub(crate) enum Environment {
    /// What the process was started with, and `micro.toml` in its working directory.
    #[default]
    Process,
    /// These alone, and a file only if they name one.
    Given(BTreeMap<String, String>),
}

impl Environment {
    /// The variables that set something, by key. One that is empty sets nothing.
    pub(super) fn values(&self) -> Result<Vec<(&'static str, Value)>> {
        self.note_unknown();
        let mut values = Vec::new();
        for (name, key) in TABLE {
            let Some(text) = self.variable(name)? else {
                continue;
            };
            let mut set = |key, kind: ValueKind| {
                values.push((key, Value::new(Some(&name.to_owned()), kind)));
            };
            match (key, text.split_once(':')) {
                (METADATA, _) => set(key, pairs(name, &text)?),
                // A user of etcdctl's does not get the password of another's.
                (USER, _) if name == ETCDCTL_USER && self.variable("ETCD_USERNAME")?.is_some() => {}
                (USER, Some((user, password))) if name == ETCDCTL_USER => {
                    set(USER, user.into());
                    set(PASSWORD, password.into());
                }
                _ => set(key, text.into()),
            }
        }
        Ok(values)
    }

    /// The variable `name`, unless it is not set or empty.
    pub(super) fn variable(&self, name: &str) -> Result<Option<String>> {
        let text = match self {
            Self::Given(variables) => variables.get(name).cloned(),
            Self::Process => match env::var(name) {
                Ok(text) => Some(text),
                Err(env::VarError::NotPresent) => None,
                Err(env::VarError::NotUnicode(_)) => {
                    return Err(Error::config(format!("{name}: the value is not UTF-8")));
                }
            },
        };
        Ok(text
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty()))
    }

    /// Kubernetes injects such names for every service called `micro-…`, so they are no error.
    fn note_unknown(&self) {
        let names: Vec<String> = match self {
            Self::Given(variables) => variables.keys().cloned().collect(),
            Self::Process => env::vars_os()
                .filter_map(|(name, _)| name.into_string().ok())
                .collect(),
        };
        let unknown: Vec<String> = names
            .into_iter()
            .filter(|name| {
                name.starts_with(PREFIX) && name != FILE && TABLE.iter().all(|(known, _)| known != name)
            })
            .collect();
        if !unknown.is_empty() {
            debug!(variables = ?unknown, "these variables are none of the framework's");
        }
    }
}

/// The names alone: a variable may hold a password.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process => f.write_str("Process"),
            Self::Given(variables) => f.debug_set().entries(variables.keys()).finish(),
        }
    }
}

/// The variable that sets `key`, or what is below it.
pub(super) fn variable_of(key: &str) -> &'static str {
    let sets = |(_, set): &&(&str, &str)| key.starts_with(set);
    TABLE
        .iter()
        .find(sets)
        .map_or("the environment", |(name, _)| name)
}

fn pairs(name: &str, text: &str) -> Result<ValueKind> {
    let pairs = node::pairs(text).map_err(|reason| Error::config(format!("{name}: {reason}")))?;
    let origin = name.to_owned();
    let table = pairs
        .into_iter()
        .map(|(key, text)| (key, Value::new(Some(&origin), text)))
        .collect::<::config::Map<_, _>>();
    Ok(table.into())
}
