//! W3C Trace Context: a span goes on with the trace that the headers of a request tell of, and tells the next request's.
//!
//! Without the feature `otel` spans belong to no trace, and what a caller sent travels on as it came.

use http::HeaderMap;
use tracing::Span;

/// How long a service that stops waits for the collector to take the last spans.
#[cfg(feature = "otel")]
const FLUSH_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3);

/// Makes `span` a part of the trace that `headers` tell of, if they do.
#[cfg(not(feature = "otel"))]
pub(crate) fn go_on(_span: &Span, _headers: &HeaderMap) {}

/// Makes `headers` tell of `span`, if it is part of a trace.
#[cfg(not(feature = "otel"))]
pub(crate) fn tell(_span: &Span, _headers: &mut HeaderMap) {}

/// Names `span` in the trace, where all spans of one kind have one name in the log.
#[cfg(not(feature = "otel"))]
pub(crate) fn name(_span: &Span, _name: &str) {}

#[cfg(feature = "otel")]
pub(crate) use self::otel::{go_on, name, tell};

/// Where spans and metrics go that are to be sent before the process ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sink {
    #[cfg(feature = "otel")]
    otlp: Option<super::Otlp>,
}

#[cfg(not(feature = "otel"))]
impl Sink {
    pub(crate) fn send_metrics(&self, _telemetry: &super::Telemetry, _instance: &str) {}

    pub(crate) async fn flush(&self) -> crate::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "otel")]
impl Sink {
    pub(crate) fn set(&mut self, otlp: &super::Otlp) {
        self.otlp = Some(otlp.clone());
    }

    /// Sends metrics as well, from now on; `instance` is the node's id.
    pub(crate) fn send_metrics(&self, telemetry: &super::Telemetry, instance: &str) {
        if let Some(otlp) = &self.otlp {
            otlp.send_metrics(telemetry, Some(instance));
        }
    }

    pub(crate) async fn flush(&self) -> crate::Result<()> {
        match &self.otlp {
            Some(otlp) => otlp.shutdown(FLUSH_TIMEOUT).await,
            None => Ok(()),
        }
    }
}

#[cfg(feature = "otel")]
mod otel {
    use http::{HeaderName, HeaderValue};
    use opentelemetry::{
        Context,
        propagation::{Extractor, Injector, TextMapPropagator as _},
        trace::TraceContextExt as _,
    };
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    use super::*;

    /// Makes `span` a part of the trace that `headers` tell of, if they do.
    pub(crate) fn go_on(span: &Span, headers: &HeaderMap) {
        if span.is_disabled() || !headers.contains_key("traceparent") {
            return;
        }
        let told = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
        // Fails where the subscriber sends no spans anywhere: then there is no trace to be part of.
        let _ = span.set_parent(told);
    }

    /// Makes `headers` tell of `span`, if it is part of a trace.
    pub(crate) fn tell(span: &Span, headers: &mut HeaderMap) {
        let context = span.context();
        if context.span().span_context().is_valid() {
            TraceContextPropagator::new().inject_context(&context, &mut HeadersMut(headers));
        }
    }

    /// Names `span` in the trace, where all spans of one kind have one name in the log.
    pub(crate) fn name(span: &Span, name: &str) {
        span.record("otel.name", name);
    }

    struct Headers<'h>(&'h HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(HeaderName::as_str).collect()
        }
    }

    struct HeadersMut<'h>(&'h mut HeaderMap);

    impl Injector for HeadersMut<'_> {
        fn set(&mut self, key: &str, value: String) {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) else {
                return;
            };
            if value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name, value);
            }
        }
    }
}
