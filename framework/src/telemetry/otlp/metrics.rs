//! Where metrics go: to a collector, over OTLP, now and then and at the end.

use std::{
    fmt,
    sync::Mutex,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::{ExportMetricsServiceRequest, metrics_service_client::MetricsServiceClient},
    common::v1::InstrumentationScope,
    metrics::v1::{ResourceMetrics, ScopeMetrics},
    resource::v1::Resource,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tonic::{
    Code, Request, Status,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tracing::{debug, info, warn};

use super::{EXPORT_TIMEOUT, families};
use crate::{
    Error, ErrorKind, Result,
    control::{Control, Owned},
    telemetry::Telemetry,
};

/// How often they are sent unless somebody says otherwise: OpenTelemetry's default (OpenTelemetry specification, "Environment
/// Variable Specification", `OTEL_METRIC_EXPORT_INTERVAL`).
pub(super) const INTERVAL: Duration = Duration::from_secs(60);

/// A collector for metrics, and those that it is sent.
pub(super) struct Metrics {
    collector: Collector,
    interval: Duration,
    sent: Mutex<Vec<Sent>>,
}

/// What one service or client records.
struct Sent {
    source: Source,
    _sending: Owned<()>,
}

#[derive(Clone)]
struct Source {
    telemetry: Telemetry,
    resource: Resource,
    /// From when on its counters count, in nanoseconds since 1970.
    since: u64,
}

#[derive(Clone)]
struct Collector {
    client: MetricsServiceClient<Channel>,
    headers: MetadataMap,
}

impl Metrics {
    /// Touches no network; `endpoint` is one that was checked.
    pub(super) fn new(
        control: &Control,
        endpoint: String,
        tls: Option<ClientTlsConfig>,
        headers: MetadataMap,
        interval: Duration,
    ) -> Result<Self> {
        let refused = |error| Error::config("send metrics").with_source(error);
        let endpoint = Endpoint::from_shared(endpoint).map_err(refused)?;
        let endpoint = endpoint.timeout(EXPORT_TIMEOUT).connect_timeout(EXPORT_TIMEOUT);
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).map_err(refused)?,
            None => endpoint,
        };
        let client = MetricsServiceClient::new(control.enter(|| endpoint.connect_lazy()));
        Ok(Self {
            collector: Collector { client, headers },
            interval,
            sent: Mutex::default(),
        })
    }

    /// Sends what `telemetry` records from now on, until this is dropped.
    pub(super) fn send(
        &self,
        telemetry: &Telemetry,
        resource: &opentelemetry_sdk::Resource,
        control: &Control,
    ) {
        let source = Source {
            telemetry: telemetry.clone(),
            resource: Resource {
                attributes: ResourceAttributesWithSchema::from(resource).attributes.0,
                ..Resource::default()
            },
            since: now(),
        };
        let (collector, interval) = (self.collector.clone(), self.interval);
        let sending = control.spawn(keep_sending(collector, source.clone(), interval));
        let mut sent = self.sent.lock().expect("no panic while it is locked");
        sent.push(Sent {
            source,
            _sending: sending,
        });
    }

    /// Sends everything once more, for at most `limit`, and then no more.
    pub(super) async fn shutdown(&self, limit: Duration) -> Result<()> {
        let sent = std::mem::take(&mut *self.sent.lock().expect("no panic while it is locked"));
        let last = async {
            for sent in sent {
                self.collector.clone().export(&sent.source).await?;
            }
            Ok::<_, Status>(())
        };
        let doing = "send the last metrics";
        match timeout(limit, last).await {
            Ok(Err(status)) if status.code() != Code::Unimplemented => {
                Err(Error::new(ErrorKind::Server, doing).with_source(status))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Timeout, doing).with_source(error)),
        }
    }
}

/// Counters and histograms go on from where they were, so that one that does not arrive is made up for by the next.
async fn keep_sending(mut collector: Collector, source: Source, interval: Duration) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failed = false;
    loop {
        ticks.tick().await;
        match collector.export(&source).await {
            Ok(()) => failed = false,
            Err(status) if status.code() == Code::Unimplemented => {
                info!("the collector takes no metrics, so none are sent");
                return;
            }
            // Once, until it works again.
            Err(status) if !failed => {
                failed = true;
                warn!(code = ?status.code(), error = status.message(), "metrics do not reach the collector");
            }
            Err(status) => {
                debug!(code = ?status.code(), error = status.message(), "metrics do not reach the collector");
            }
        }
    }
}

impl Collector {
    async fn export(&mut self, source: &Source) -> std::result::Result<(), Status> {
        let metrics = families::read(&source.telemetry, source.since, now());
        let scope = InstrumentationScope {
            name: "micro".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_metrics = ScopeMetrics {
            scope: Some(scope),
            metrics,
            schema_url: String::new(),
        };
        let resource_metrics = ResourceMetrics {
            resource: Some(source.resource.clone()),
            scope_metrics: vec![scope_metrics],
            schema_url: String::new(),
        };
        let mut request = Request::new(ExportMetricsServiceRequest {
            resource_metrics: vec![resource_metrics],
        });
        *request.metadata_mut() = self.headers.clone();
        self.client.export(request).await.map(drop)
    }
}

/// Nanoseconds since 1970; OTLP's points are told by the wall clock, and nothing is timed by it.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ::metrics::Unit;
    use opentelemetry_proto::tonic::{
        collector::metrics::v1::{
            ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        metrics::v1::{metric::Data, number_data_point},
    };
    use tokio::{net::TcpListener, sync::mpsc};
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::{Response, service::Routes, transport::Server};

    use super::*;
    use crate::telemetry::Metric;

    const DONE: Metric = Metric {
        name: "micro.test.done",
        unit: Unit::Count,
        help: "What a test did.",
    };

    /// What a collector is sent: a value, and a header.
    struct Taking(mpsc::UnboundedSender<(f64, Option<String>)>);

    #[tonic::async_trait]
    impl MetricsService for Taking {
        async fn export(
            &self,
            request: Request<ExportMetricsServiceRequest>,
        ) -> std::result::Result<Response<ExportMetricsServiceResponse>, Status> {
            let tenant = request.metadata().get("x-tenant");
            let tenant = tenant.map(|tenant| tenant.to_str().unwrap().to_owned());
            let metric = &request.get_ref().resource_metrics[0].scope_metrics[0].metrics[0];
            let Some(Data::Sum(sum)) = &metric.data else {
                panic!("{metric:?}");
            };
            let Some(number_data_point::Value::AsDouble(value)) = sum.data_points[0].value else {
                panic!("{sum:?}");
            };
            self.0.send((value, tenant)).unwrap();
            Ok(Response::new(ExportMetricsServiceResponse::default()))
        }
    }

    /// Metrics that go to a collector with `services` every 10 ms.
    async fn to(services: Routes, control: &Control) -> Metrics {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let incoming = TcpListenerStream::new(listener);
        tokio::spawn(
            Server::builder()
                .add_routes(services)
                .serve_with_incoming(incoming),
        );
        let mut headers = MetadataMap::new();
        headers.insert("x-tenant", "a".parse().unwrap());
        Metrics::new(control, endpoint, None, headers, Duration::from_millis(10)).unwrap()
    }

    #[tokio::test]
    async fn they_are_sent_again_and_again_and_once_more_at_the_end() {
        let (send, mut taken) = mpsc::unbounded_channel();
        let control = Control::start().unwrap();
        let metrics = to(Routes::new(MetricsServiceServer::new(Taking(send))), &control).await;
        let telemetry = Telemetry::new();
        let counter = telemetry.counter(DONE, &[]);
        counter.increment(1);
        metrics.send(
            &telemetry,
            &opentelemetry_sdk::Resource::builder().build(),
            &control,
        );
        assert_eq!(taken.recv().await.unwrap(), (1.0, Some("a".to_owned())));
        counter.increment(1);
        while taken.recv().await.unwrap().0 < 2.0 {}
        counter.increment(1);
        metrics.shutdown(Duration::from_secs(60)).await.unwrap();
        let mut last = 0.0;
        while let Ok((value, _)) = taken.try_recv() {
            last = value;
        }
        assert!((last - 3.0).abs() < f64::EPSILON, "{last}");
    }

    #[tokio::test]
    async fn a_collector_without_them_is_no_error_and_one_that_is_away_is() {
        let control = Control::start().unwrap();
        let without = to(Routes::default(), &control).await;
        let away = "http://127.0.0.1:1".to_owned();
        let away = Metrics::new(&control, away, None, MetadataMap::new(), INTERVAL).unwrap();
        for metrics in [&without, &away] {
            let resource = opentelemetry_sdk::Resource::builder().build();
            metrics.send(&Telemetry::new(), &resource, &control);
        }
        without.shutdown(Duration::from_secs(60)).await.unwrap();
        let error = away.shutdown(Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Server, "{error:#}");
        away.shutdown(Duration::from_secs(60)).await.unwrap();
    }
}
