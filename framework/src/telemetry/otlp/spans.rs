//! Spans on their way to a collector, over OTLP.

use std::time::Duration;

use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tonic::{metadata::MetadataMap, transport::ClientTlsConfig};

use super::EXPORT_TIMEOUT;
use crate::{Error, ErrorKind, Result, control::Control};

/// How many spans wait for the collector at most; one too many is dropped.
const QUEUE_MAX: usize = 2_048;
/// How many are sent together at most.
const BATCH_MAX: usize = 512;
/// How long the first of them waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(5);
/// Whose spans are never sent: sending them would make more of them.
const OWN_TRANSPORT: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_util",
    "opentelemetry",
    "opentelemetry_otlp",
    "opentelemetry_sdk",
    "tonic",
    "tower",
];

/// What takes spans in and sends them to `endpoint`, which is one that was checked. Touches no network.
pub(super) fn provider(
    control: &Control,
    endpoint: &str,
    tls: Option<ClientTlsConfig>,
    headers: MetadataMap,
    resource: Resource,
) -> Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .with_metadata(headers);
    let exporter = match tls {
        Some(tls) => exporter.with_tls_config(tls),
        None => exporter,
    };
    let exporter = control.enter(|| exporter.build());
    let exporter =
        exporter.map_err(|error| Error::config(format!("send spans to {endpoint:?}")).with_source(error))?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(QUEUE_MAX)
        .with_max_export_batch_size(BATCH_MAX)
        .with_scheduled_delay(BATCH_WAIT)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_resource(resource)
        .build())
}

/// Sends what still waits, if anything can.
pub(super) async fn shutdown(spans: Option<SdkTracerProvider>, timeout: Duration) -> Result<()> {
    let Some(spans) = spans else { return Ok(()) };
    let doing = "send the last spans";
    // It blocks its thread, within the timeout.
    let ended = tokio::task::spawn_blocking(move || spans.shutdown_with_timeout(timeout)).await;
    match ended {
        Ok(Ok(()) | Err(OTelSdkError::AlreadyShutdown)) => Ok(()),
        Ok(Err(error @ OTelSdkError::Timeout(_))) => {
            Err(Error::new(ErrorKind::Timeout, doing).with_source(error))
        }
        Ok(Err(error)) => Err(Error::new(ErrorKind::Server, doing).with_source(error)),
        Err(error) => Err(Error::new(ErrorKind::Server, doing).with_source(error)),
    }
}

/// Whether a span or an event of this target is of the transport that sends them.
pub(super) fn are_of_transport(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    OWN_TRANSPORT.contains(&root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sends_spans_makes_none() {
        for (target, is_own) in [
            ("h2::client", true),
            ("tonic", true),
            ("h2o", false),
            ("greeter", false),
        ] {
            assert_eq!(are_of_transport(target), is_own, "{target}");
        }
    }
}
