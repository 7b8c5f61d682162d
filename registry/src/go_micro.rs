//! How Go Micro writes a method into a registry: the JSON that Consul's tags and etcd's values have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Idempotency, Method, ServiceName};

/// Go Micro's mark of a method with a stream in either direction.
const STREAM: &str = "stream";
/// Which directions have a stream; Go Micro does not say.
const CLIENT_STREAMING: &str = "client-streaming";
const SERVER_STREAMING: &str = "server-streaming";
/// The full name of the gRPC service, where it is not what Go Micro's callers make of the registry's name.
const SERVICE: &str = "service";
/// The proto option `idempotency_level`, by its names there.
const IDEMPOTENCY: &str = "idempotency";
const IDEMPOTENT: &str = "IDEMPOTENT";
const NO_SIDE_EFFECTS: &str = "NO_SIDE_EFFECTS";
const TRUE: &str = "true";

/// A [`Method`] as Go Micro writes it: `{"request":…,"response":…,"metadata":{…},"name":"Say.Hello"}`.
///
/// What Go Micro has no room for stands in the metadata, under names that it passes over. Reading takes what any version
/// of it wrote, `null` in every place included.
///
/// ```
/// use micro_registry::{Method, go_micro::Endpoint};
///
/// let service = "greeter".parse()?;
/// let method = Method::new("greeter.v1.Say", "Hello");
/// assert_eq!(Endpoint::new(&method, &service).method(&service), Some(method));
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    request: Option<Value>,
    response: Option<Value>,
    metadata: Option<BTreeMap<String, Option<String>>>,
    name: Option<String>,
}

/// A message; of its fields Go Micro tells names and types, which nobody needs who has descriptors.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Value {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(skip_deserializing)]
    values: (),
}

impl Endpoint {
    /// `method` of the service that the registry calls `service`.
    #[must_use]
    pub fn new(method: &Method, service: &ServiceName) -> Self {
        let kind = last_part(&method.service);
        let mut metadata = BTreeMap::new();
        let mut note = |key: &str, value: &str| metadata.insert(key.to_owned(), Some(value.to_owned()));
        if method.service != called(service, kind) {
            note(SERVICE, &method.service);
        }
        if !method.is_unary() {
            note(STREAM, TRUE);
        }
        if method.client_streaming {
            note(CLIENT_STREAMING, TRUE);
        }
        if method.server_streaming {
            note(SERVER_STREAMING, TRUE);
        }
        match method.idempotency {
            Idempotency::Unknown => None,
            Idempotency::Idempotent => note(IDEMPOTENCY, IDEMPOTENT),
            Idempotency::NoSideEffects => note(IDEMPOTENCY, NO_SIDE_EFFECTS),
        };
        Self {
            request: Value::new(&method.request),
            response: Value::new(&method.response),
            metadata: Some(metadata),
            name: Some(format!("{kind}.{}", method.name)),
        }
    }

    /// The method of the service that the registry calls `service`; `None` when the name has no dot, as Go Micro's
    /// subscribers have none.
    ///
    /// Of a stream whose directions are not told, both are taken to have one: such a method is not unary.
    #[must_use]
    pub fn method(&self, service: &ServiceName) -> Option<Method> {
        let (kind, name) = self.name.as_deref()?.split_once('.')?;
        let noted = self.noted(SERVICE);
        let full = noted.map_or_else(|| called(service, kind), str::to_owned);
        let mut method = Method::new(full, name);
        method.request = self.request.as_ref().map(Value::full_name).unwrap_or_default();
        method.response = self.response.as_ref().map(Value::full_name).unwrap_or_default();
        method.client_streaming = self.noted(CLIENT_STREAMING) == Some(TRUE);
        method.server_streaming = self.noted(SERVER_STREAMING) == Some(TRUE);
        if method.is_unary() && self.noted(STREAM) == Some(TRUE) {
            (method.client_streaming, method.server_streaming) = (true, true);
        }
        method.idempotency = match self.noted(IDEMPOTENCY) {
            Some(IDEMPOTENT) => Idempotency::Idempotent,
            Some(NO_SIDE_EFFECTS) => Idempotency::NoSideEffects,
            _ => Idempotency::Unknown,
        };
        Some(method)
    }

    fn noted(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key)?.as_deref()
    }
}

impl Value {
    /// The message of this full name, unless it is empty. Go Micro shows the name, and compares neither.
    fn new(full_name: &str) -> Option<Self> {
        if full_name.is_empty() {
            return None;
        }
        Some(Self {
            name: Some(last_part(full_name).to_owned()),
            kind: Some(full_name.to_owned()),
            values: (),
        })
    }

    fn full_name(&self) -> String {
        self.kind.clone().unwrap_or_default()
    }
}

/// How a caller of Go Micro's names a gRPC service: the package is not in it, the registry's name is.
fn called(service: &ServiceName, kind: &str) -> String {
    format!("{service}.{kind}")
}

fn last_part(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, last)| last)
}
