//! Where spans go: to a collector, over OTLP.

use std::{fmt, fs, sync::Arc, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::transport::{Certificate, ClientTlsConfig, Identity},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkError,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use crate::{
    Error, ErrorKind, Result,
    config::{self, Environment, Loaded},
    control::Control,
};

/// How many spans wait for the collector at most; one too many is dropped.
const QUEUE_MAX: usize = 2_048;
/// How many are sent together at most.
const BATCH_MAX: usize = 512;
/// How long the first of them waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(5);
/// How long the collector may take for one batch.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
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

/// Sends the spans of a program to an OpenTelemetry collector, over OTLP. Clones share.
///
/// It is a [`Layer`] for the program's own subscriber, as a library installs none, and is off unless `[telemetry.otlp]` in
/// `micro.toml`, `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` or `OTEL_EXPORTER_OTLP_ENDPOINT` names a collector:
///
/// ```no_run
/// use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};
///
/// # async fn example() -> micro::Result<()> {
/// let otlp = micro::Otlp::from_env("greeter")?;
/// tracing_subscriber::registry()
///     .with(tracing_subscriber::fmt::layer())
///     .with(otlp.layer())
///     .init();
/// micro::Service::builder("greeter").otlp(&otlp).build()?.run().await
/// # }
/// ```
///
/// A collector that is away delays no call: up to 2,048 spans wait for it, and further ones are dropped.
#[derive(Clone, Debug)]
pub struct Otlp {
    sending: Option<Arc<Sending>>,
}

struct Sending {
    provider: SdkTracerProvider,
    endpoint: String,
    /// The exporter's connection lives there, so that handlers that block their runtime hold up no span.
    _control: Control,
}

impl Otlp {
    /// What `micro.toml` and the environment say; `service` is the name in the traces, unless `OTEL_SERVICE_NAME` or
    /// `telemetry.otlp.service_name` has another. Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for a mistake in the configuration, and for an endpoint that is none.
    pub fn from_env(service: &str) -> Result<Self> {
        Self::configured(service, &Loaded::load(&Environment::Process)?)
    }

    /// Sends to the collector at `endpoint`, such as `http://127.0.0.1:4317`, whatever the configuration says; to
    /// `https://…` over TLS, if the system trusts its certificate. Touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for an endpoint that is none, [`ErrorKind::Server`] when the thread that sends cannot be started.
    pub fn to(service: &str, endpoint: &str) -> Result<Self> {
        Self::start(service, endpoint, &config::Otlp::default())
    }

    fn start(service: &str, endpoint: &str, settings: &config::Otlp) -> Result<Self> {
        let control = Control::start().map_err(|error| {
            Error::new(ErrorKind::Server, "start the thread that sends spans").with_source(error)
        })?;
        let (checked, is_tls) = checked(endpoint)?;
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(checked)
            .with_timeout(EXPORT_TIMEOUT);
        let exporter = match is_tls {
            true => exporter.with_tls_config(tls(settings)?),
            false => exporter,
        };
        let exporter = control.enter(|| {
            exporter
                .build()
                .map_err(|error| Error::config(format!("send spans to {endpoint:?}")).with_source(error))
        })?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let resource = Resource::builder().with_service_name(service.to_owned()).build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource)
            .build();
        let sending = Sending {
            provider,
            endpoint: endpoint.to_owned(),
            _control: control,
        };
        Ok(Self {
            sending: Some(Arc::new(sending)),
        })
    }

    pub(crate) fn configured(service: &str, loaded: &Loaded) -> Result<Self> {
        let otlp = loaded.otlp();
        let Some(endpoint) = &otlp.endpoint else {
            return Ok(Self { sending: None });
        };
        let from = |key| loaded.place(key).unwrap_or_default();
        if let Some(protocol) = otlp.protocol.as_deref().filter(|protocol| *protocol != "grpc") {
            let from = from("telemetry.otlp.protocol");
            return Err(Error::config(format!(
                "{from}: {protocol:?} is unknown; allowed is grpc"
            )));
        }
        let service = otlp.service_name.as_deref().unwrap_or(service);
        Self::start(service, endpoint, &otlp).map_err(|error| {
            let from = from("telemetry.otlp.endpoint");
            Error::new(error.kind(), format!("{from}: {error:#}"))
        })
    }

    /// Whether a collector was named.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.sending.is_some()
    }

    /// What takes in the spans; nothing, if no collector was named. Give it the level that it shall have by a filter.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'s> LookupSpan<'s> + Send + Sync,
    {
        self.sending.as_ref().map(|sending| {
            tracing_opentelemetry::layer()
                .with_tracer(sending.provider.tracer("micro"))
                .with_filter(filter_fn(|metadata| !is_of_transport(metadata.target())))
        })
    }

    /// Sends what still waits, for at most `timeout`; spans that end later are dropped. A service that has this with
    /// [`ServiceBuilder::otlp`](crate::ServiceBuilder::otlp) does so itself when it stops.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] when the collector has not answered in time, [`ErrorKind::Server`] when what sends has ended. That
    /// the collector refuses the spans, or cannot be connected to, is no error: OpenTelemetry's processor does not tell.
    pub async fn shutdown(&self, timeout: Duration) -> Result<()> {
        let Some(sending) = self.sending.clone() else {
            return Ok(());
        };
        let doing = format!("send the last spans to {}", sending.endpoint);
        // It blocks its thread, within the timeout.
        let ended =
            tokio::task::spawn_blocking(move || sending.provider.shutdown_with_timeout(timeout)).await;
        match ended {
            Ok(Ok(()) | Err(OTelSdkError::AlreadyShutdown)) => Ok(()),
            Ok(Err(error @ OTelSdkError::Timeout(_))) => {
                Err(Error::new(ErrorKind::Timeout, doing).with_source(error))
            }
            Ok(Err(error)) => Err(Error::new(ErrorKind::Server, doing).with_source(error)),
            Err(error) => Err(Error::new(ErrorKind::Server, doing).with_source(error)),
        }
    }
}

/// Whether a span or an event of this target is of the transport that sends them.
fn is_of_transport(target: &str) -> bool {
    let root = target.split("::").next().unwrap_or_default();
    OWN_TRANSPORT.contains(&root)
}

/// The endpoint, if it is one that can be sent to, and whether that is over TLS.
fn checked(endpoint: &str) -> Result<(String, bool)> {
    let uri: Option<http::Uri> = endpoint.parse().ok();
    let scheme = uri.as_ref().filter(|uri| uri.port().is_some());
    match scheme.and_then(http::Uri::scheme_str) {
        Some("http") => Ok((endpoint.to_owned(), false)),
        Some("https") => Ok((endpoint.to_owned(), true)),
        _ => Err(Error::config(format!(
            "{endpoint:?} is no collector that spans can be sent to; allowed are http://HOST:PORT and https://HOST:PORT, \
             where gRPC is spoken"
        ))),
    }
}

/// Whose certificate a collector may have, and our own if it asks for one.
fn tls(settings: &config::Otlp) -> Result<ClientTlsConfig> {
    let config = match &settings.ca_file {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match (&settings.client_certificate_file, &settings.client_key_file) {
        (Some(certificate), Some(key)) => {
            Ok(config.identity(Identity::from_pem(read(certificate)?, read(key)?)))
        }
        (None, None) => Ok(config),
        _ => Err(Error::config(
            "`telemetry.otlp.client_certificate_file` and `telemetry.otlp.client_key_file` are given together or not at all",
        )),
    }
}

fn read(file: &str) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| Error::config(format!("read {file:?}")).with_source(error))
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn otlp(variables: &[(&str, &str)]) -> Result<Otlp> {
        let variables = variables.iter().map(|&(name, text)| (name.into(), text.into()));
        let loaded = Loaded::load(&Environment::Given(variables.collect()))?;
        Otlp::configured("greeter", &loaded)
    }

    #[test]
    fn a_collector_is_named_by_opentelemetry_s_variables() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector");
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4317");
        assert!(!otlp(&[]).unwrap().is_on());
        assert!(otlp(&[general, of_traces]).unwrap().is_on());
        // They may be meant for others, so only those who use them refuse them.
        let error = otlp(&[general]).unwrap_err();
        assert!(
            error.to_string().starts_with("OTEL_EXPORTER_OTLP_ENDPOINT: "),
            "{error}"
        );
        let error = otlp(&[of_traces, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]).unwrap_err();
        let expected = "OTEL_EXPORTER_OTLP_PROTOCOL: \"http/protobuf\" is unknown; allowed is grpc";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_collector_is_named_by_micro_toml() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("micro.toml");
        let file = ("MICRO_CONFIG", path.to_str().unwrap());
        let write = |text: &str| std::fs::write(&path, format!("[telemetry.otlp]\n{text}\n")).unwrap();
        write("service_name = \"greeter\"");
        assert!(!otlp(&[file]).unwrap().is_on());
        write("endpoint = \"http://127.0.0.1:4317\"\nprotocol = \"grpc\"");
        assert!(otlp(&[file]).unwrap().is_on());
        write("endpoint = \"collector\"");
        let error = otlp(&[file]).unwrap_err().to_string();
        assert!(
            error.contains("micro.toml") && error.contains("\"collector\""),
            "{error}"
        );
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4317");
        assert!(
            otlp(&[file, of_traces]).unwrap().is_on(),
            "a variable stands above the file"
        );
    }

    #[test]
    fn what_sends_spans_makes_none() {
        for (target, is_own) in [
            ("h2::client", true),
            ("tonic", true),
            ("h2o", false),
            ("greeter", false),
        ] {
            assert_eq!(is_of_transport(target), is_own, "{target}");
        }
    }
}
