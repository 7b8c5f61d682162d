//! What was typed for the collector that spans and metrics are sent to; used by programs that ask for it.

#[cfg(feature = "otel")]
use std::time::Duration;

use serde::Deserialize;

use super::{
    secret::Secret,
    value::{Parsed, Span},
};

/// `[telemetry]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[cfg_attr(
    not(feature = "otel"),
    allow(dead_code, reason = "a build without otel checks these keys, and uses none")
)]
pub(super) struct Telemetry {
    otlp: Typed,
}

/// `[telemetry.otlp]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
#[cfg_attr(
    not(feature = "otel"),
    allow(dead_code, reason = "a build without otel checks these keys, and uses none")
)]
struct Typed {
    endpoint: Option<Parsed<String>>,
    traces_endpoint: Option<Parsed<String>>,
    metrics_endpoint: Option<Parsed<String>>,
    metrics_interval: Option<Span>,
    headers: Option<Secret>,
    protocol: Option<Parsed<String>>,
    ca_file: Option<Parsed<String>>,
    client_certificate_file: Option<Parsed<String>>,
    client_key_file: Option<Parsed<String>>,
    service_name: Option<Parsed<String>>,
}

/// The settings of the collector, as far as somebody made them. What they say is checked by those who use it: the variables
/// are OpenTelemetry's, and may be meant for others.
#[cfg(feature = "otel")]
#[derive(Clone, Debug, Default)]
pub(crate) struct Otlp {
    pub(crate) endpoint: Option<String>,
    pub(crate) traces_endpoint: Option<String>,
    pub(crate) metrics_endpoint: Option<String>,
    pub(crate) metrics_interval: Option<Duration>,
    pub(crate) headers: Option<Secret>,
    pub(crate) protocol: Option<String>,
    pub(crate) ca_file: Option<String>,
    pub(crate) client_certificate_file: Option<String>,
    pub(crate) client_key_file: Option<String>,
    pub(crate) service_name: Option<String>,
}

#[cfg(feature = "otel")]
impl super::Loaded {
    /// Where spans and metrics go.
    pub(crate) fn otlp(&self) -> Otlp {
        let typed = self.typed.telemetry.otlp.clone();
        let text = |typed: Option<Parsed<String>>| typed.map(|Parsed(text)| text);
        Otlp {
            endpoint: text(typed.endpoint),
            traces_endpoint: text(typed.traces_endpoint),
            metrics_endpoint: text(typed.metrics_endpoint),
            metrics_interval: typed.metrics_interval.map(|Span(interval)| interval),
            headers: typed.headers,
            protocol: text(typed.protocol),
            ca_file: text(typed.ca_file),
            client_certificate_file: text(typed.client_certificate_file),
            client_key_file: text(typed.client_key_file),
            service_name: text(typed.service_name),
        }
    }
}
