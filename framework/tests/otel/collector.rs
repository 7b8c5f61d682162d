//! A collector that keeps what it is sent.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::{
        metrics::v1::{
            ExportMetricsServiceRequest, ExportMetricsServiceResponse,
            metrics_service_server::{MetricsService, MetricsServiceServer},
        },
        trace::v1::{
            ExportTraceServiceRequest, ExportTraceServiceResponse,
            trace_service_server::{TraceService, TraceServiceServer},
        },
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::Metric,
    trace::v1::Span,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status,
    transport::{Server, ServerTlsConfig},
};

/// What has arrived.
#[derive(Clone, Debug, Default)]
pub(crate) struct Taken {
    /// The name in the resource.
    pub(crate) service: String,
    pub(crate) spans: Vec<Span>,
    /// The metrics of the last request with some, and who sent them.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) instance: Option<String>,
    /// Of the last request.
    pub(crate) metadata: http::HeaderMap,
}

impl Taken {
    /// The spans whose parent this is; those without one, for no id.
    pub(crate) fn children(&self, parent: &[u8]) -> Vec<&Span> {
        let is_child = |span: &&Span| span.parent_span_id == parent;
        self.spans.iter().filter(is_child).collect()
    }

    /// Takes those of this name out.
    pub(crate) fn take(&mut self, name: &str) -> Vec<Span> {
        let spans = std::mem::take(&mut self.spans);
        let (taken, others) = spans.into_iter().partition(|span| span.name == name);
        self.spans = others;
        taken
    }

    /// An attribute of a span's.
    pub(crate) fn text(span: &Span, key: &str) -> Option<String> {
        text(&span.attributes, key)
    }
}

pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

#[derive(Clone, Default)]
struct Taking(Arc<Mutex<Taken>>);

#[tonic::async_trait]
impl TraceService for Taking {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut taken = self.0.lock().unwrap();
        taken.metadata = request.metadata().clone().into_headers();
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.unwrap_or_default().attributes;
            taken.service = text(&attributes, "service.name").unwrap_or_default();
            let scopes = resource.scope_spans.into_iter();
            taken.spans.extend(scopes.flat_map(|scope| scope.spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Taking {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let mut taken = self.0.lock().unwrap();
        taken.metadata = request.metadata().clone().into_headers();
        for resource in request.into_inner().resource_metrics {
            let attributes = resource.resource.unwrap_or_default().attributes;
            taken.service = text(&attributes, "service.name").unwrap_or_default();
            taken.instance = text(&attributes, "service.instance.id");
            let scopes = resource.scope_metrics.into_iter();
            taken.metrics = scopes.flat_map(|scope| scope.metrics).collect();
        }
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// The server, until it is dropped.
pub(crate) struct Collector {
    address: std::net::SocketAddr,
    taking: Taking,
    serving: JoinHandle<()>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::start_with(Server::builder()).await
    }

    pub(crate) async fn start_over_tls(tls: ServerTlsConfig) -> Self {
        Self::start_with(Server::builder().tls_config(tls).unwrap()).await
    }

    async fn start_with(mut server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, taking) = (listener.local_addr().unwrap(), Taking::default());
        let traces = TraceServiceServer::new(taking.clone());
        let metrics = MetricsServiceServer::new(taking.clone());
        let serving = tokio::spawn(async move {
            server
                .add_service(traces)
                .add_service(metrics)
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
                .unwrap();
        });
        Self {
            address,
            taking,
            serving,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn taken(&self) -> Taken {
        self.taking.0.lock().unwrap().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
