//! Where spans and metrics go: to a collector, over OTLP.

mod families;
mod metrics;
mod spans;

use std::{fmt, fs, sync::Arc, time::Duration};

use opentelemetry::{KeyValue, trace::TracerProvider as _};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use percent_encoding::percent_decode_str;
use tonic::{
    metadata::{MetadataKey, MetadataMap},
    transport::{Certificate, ClientTlsConfig, Identity},
};
use tracing::Subscriber;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

use self::metrics::Metrics;
use super::Telemetry;
use crate::{
    Error, ErrorKind, Result,
    config::{self, Environment, Loaded},
    control::Control,
};

/// How long the collector may take for one request.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends the spans and metrics of a program to an OpenTelemetry collector, over OTLP. Clones share.
///
/// For spans it is a [`Layer`] for the program's own subscriber, as a library installs none; the metrics are those of the services
/// that are given it. It is off unless `[telemetry.otlp]` in `micro.toml`, or one of OpenTelemetry's variables, such as
/// `OTEL_EXPORTER_OTLP_ENDPOINT`, names a collector:
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
/// A collector that is away delays no call: up to 2,048 spans wait for it, and further ones are dropped. Metrics are sent every
/// 60 s, and what did not arrive is made up for by the next that do.
#[derive(Clone, Debug)]
pub struct Otlp {
    sending: Option<Arc<Sending>>,
}

struct Sending {
    spans: Option<SdkTracerProvider>,
    metrics: Option<Metrics>,
    /// The name in the resource.
    service: String,
    /// The exporters' connections live there, so that handlers that block their runtime hold up nothing.
    control: Control,
}

impl Otlp {
    /// What `micro.toml` and the environment say; `service` is the name in traces and metrics, unless `OTEL_SERVICE_NAME` or
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
        let settings = config::Otlp {
            endpoint: Some(endpoint.to_owned()),
            ..config::Otlp::default()
        };
        Self::start(service, &settings, |_key| None)
    }

    pub(crate) fn configured(service: &str, loaded: &Loaded) -> Result<Self> {
        let otlp = loaded.otlp();
        let service = otlp.service_name.as_deref().unwrap_or(service);
        Self::start(service, &otlp, |key| loaded.place(key))
    }

    /// `place` says where a key was set.
    fn start(service: &str, settings: &config::Otlp, place: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let endpoint = |of_signal: &Option<String>, key| {
            let key = if of_signal.is_some() {
                key
            } else {
                "telemetry.otlp.endpoint"
            };
            let endpoint = of_signal.clone().or_else(|| settings.endpoint.clone());
            endpoint.map(|endpoint| (endpoint, key))
        };
        let traces = endpoint(&settings.traces_endpoint, "telemetry.otlp.traces_endpoint");
        let metrics = endpoint(&settings.metrics_endpoint, "telemetry.otlp.metrics_endpoint");
        let interval = settings.metrics_interval.unwrap_or(metrics::INTERVAL);
        let metrics = metrics.filter(|_endpoint| !interval.is_zero());
        if traces.is_none() && metrics.is_none() {
            return Ok(Self { sending: None });
        }
        let at = |key: &str, error: Error| match place(key) {
            Some(place) => Error::new(error.kind(), format!("{place}: {error:#}")),
            None => error,
        };
        if let Some(protocol) = settings
            .protocol
            .as_deref()
            .filter(|protocol| *protocol != "grpc")
        {
            let error = Error::config(format!("{protocol:?} is unknown; allowed is grpc"));
            return Err(at("telemetry.otlp.protocol", error));
        }
        let typed = settings.headers.as_ref().map_or("", |secret| &secret.0);
        let headers = headers(typed).map_err(|error| at("telemetry.otlp.headers", error))?;
        let control = Control::start().map_err(|error| {
            Error::new(ErrorKind::Server, "start the thread that sends spans and metrics").with_source(error)
        })?;
        let spans = traces.map(|(endpoint, key)| {
            let resource = resource(service, None);
            tls(settings, &endpoint)
                .and_then(|tls| spans::provider(&control, &endpoint, tls, headers.clone(), resource))
                .map_err(|error| at(key, error))
        });
        let metrics = metrics.map(|(endpoint, key)| {
            tls(settings, &endpoint)
                .and_then(|tls| Metrics::new(&control, endpoint, tls, headers.clone(), interval))
                .map_err(|error| at(key, error))
        });
        let sending = Sending {
            spans: spans.transpose()?,
            metrics: metrics.transpose()?,
            service: service.to_owned(),
            control,
        };
        Ok(Self {
            sending: Some(Arc::new(sending)),
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
        let spans = self.sending.as_ref().and_then(|sending| sending.spans.as_ref());
        spans.map(|spans| {
            tracing_opentelemetry::layer()
                .with_tracer(spans.tracer("micro"))
                .with_filter(filter_fn(|metadata| !spans::are_of_transport(metadata.target())))
        })
    }

    /// Sends what `telemetry` records from now on, every 60 s unless `telemetry.otlp.metrics_interval` says otherwise, and once more
    /// by [`Otlp::shutdown`]. A service that has this with [`ServiceBuilder::otlp`](crate::ServiceBuilder::otlp) does so itself; this
    /// is for a client that belongs to none. `instance` tells those apart who send under one name (`service.instance.id`).
    pub fn send_metrics(&self, telemetry: &Telemetry, instance: Option<&str>) {
        let Some(sending) = &self.sending else { return };
        if let Some(metrics) = &sending.metrics {
            let resource = resource(&sending.service, instance);
            metrics.send(telemetry, &resource, &sending.control);
        }
    }

    /// Sends what still waits, for at most `timeout`; spans that end later are dropped, and no metrics are sent any more. A service
    /// that has this with [`ServiceBuilder::otlp`](crate::ServiceBuilder::otlp) does so itself when it stops.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Timeout`] when the collector has not answered in time, [`ErrorKind::Server`] when what sends has ended, or the
    /// collector has refused the metrics or cannot be connected to. Of spans those two are no errors: OpenTelemetry's processor does
    /// not tell. Nor is it one that a collector has no use for metrics at all (`UNIMPLEMENTED`).
    pub async fn shutdown(&self, timeout: Duration) -> Result<()> {
        let Some(sending) = self.sending.clone() else {
            return Ok(());
        };
        let metrics = async {
            match &sending.metrics {
                Some(metrics) => metrics.shutdown(timeout).await,
                None => Ok(()),
            }
        };
        let (spans, metrics) = tokio::join!(spans::shutdown(sending.spans.clone(), timeout), metrics);
        spans.and(metrics)
    }
}

/// Who sends.
fn resource(service: &str, instance: Option<&str>) -> Resource {
    let resource = Resource::builder().with_service_name(service.to_owned());
    match instance {
        Some(instance) => resource.with_attribute(KeyValue::new("service.instance.id", instance.to_owned())),
        None => resource,
    }
    .build()
}

/// `key=value,…`, as `OTEL_EXPORTER_OTLP_HEADERS` has them: what is no letter of a header stands there as in an address, `%20` for a
/// blank (W3C Baggage, which the OpenTelemetry specification refers to).
fn headers(text: &str) -> Result<MetadataMap> {
    let mut headers = MetadataMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        // The value is not shown: it may be a token.
        let wrong = || {
            let name = pair.split_once('=').map_or("…", |(name, _)| name);
            Error::config(format!(
                "the header {name:?} is none; expected are name=value, separated by commas"
            ))
        };
        let (name, value) = pair.split_once('=').ok_or_else(wrong)?;
        let name: MetadataKey<_> = name
            .trim()
            .to_ascii_lowercase()
            .parse()
            .map_err(|_invalid| wrong())?;
        let value = percent_decode_str(value.trim())
            .decode_utf8()
            .map_err(|_invalid| wrong())?;
        headers.insert(name, value.parse().map_err(|_invalid| wrong())?);
    }
    Ok(headers)
}

/// How an endpoint, if it is one that can be sent to, is spoken to over TLS: whose certificate the collector may have, and our own
/// if it asks for one. `None` where it is not.
fn tls(settings: &config::Otlp, endpoint: &str) -> Result<Option<ClientTlsConfig>> {
    let uri: Option<http::Uri> = endpoint.parse().ok();
    let scheme = uri.as_ref().filter(|uri| uri.port().is_some());
    match scheme.and_then(http::Uri::scheme_str) {
        Some("http") => return Ok(None),
        Some("https") => {}
        _ => {
            return Err(Error::config(format!(
                "{endpoint:?} is no collector that can be sent to; allowed are http://HOST:PORT and https://HOST:PORT, where \
                 gRPC is spoken"
            )));
        }
    }
    let config = match &settings.ca_file {
        Some(file) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(file)?)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    match (&settings.client_certificate_file, &settings.client_key_file) {
        (Some(certificate), Some(key)) => Ok(Some(
            config.identity(Identity::from_pem(read(certificate)?, read(key)?)),
        )),
        (None, None) => Ok(Some(config)),
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
            .field("service", &self.service)
            .field("metrics", &self.metrics)
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

    /// Whether spans are sent, and metrics.
    fn sends(variables: &[(&str, &str)]) -> (bool, bool) {
        let otlp = otlp(variables).unwrap();
        let sending = otlp.sending.as_ref().unwrap();
        (sending.spans.is_some(), sending.metrics.is_some())
    }

    #[test]
    fn headers_are_pairs_and_what_is_none_is_said_without_its_value() {
        let good = headers(" authorization=Bearer%20a%2Cb=, X-Tenant = a ,").unwrap();
        assert_eq!(good.len(), 2, "{good:?}");
        assert_eq!(good.get("authorization").unwrap(), "Bearer a,b=");
        assert_eq!(good.get("x-tenant").unwrap(), "a");
        assert!(headers("").unwrap().is_empty());
        for wrong in [
            "secret",
            "a b=secret",
            "a=secret%0a",
            "a=secret%ff",
            "a-bin=secret",
        ] {
            let error = headers(wrong).unwrap_err().to_string();
            let is_said = error.contains("name=value") && !error.contains("=secret");
            assert!(is_said, "{wrong}: {error}");
        }
    }

    #[test]
    fn a_collector_is_named_by_opentelemetry_s_variables() {
        let general = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector");
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4317");
        let of_metrics = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:4317");
        assert!(!otlp(&[]).unwrap().is_on());
        assert_eq!(sends(&[general, of_traces, of_metrics]), (true, true));
        assert_eq!(sends(&[of_traces]), (true, false));
        assert_eq!(sends(&[of_metrics]), (false, true));
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
        write("endpoint = \"http://127.0.0.1:4317\"\nmetrics_interval = \"0s\"");
        assert_eq!(sends(&[file]), (true, false));
        write("endpoint = \"collector\"\nmetrics_interval = \"0s\"");
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
}
