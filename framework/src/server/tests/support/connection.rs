//! One HTTP/2 connection, under any generated client.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::future::BoxFuture;
use http::{Uri, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Mutex,
    time::timeout,
};
use tokio_stream::StreamExt;
use tonic::{IntoRequest, IntoStreamingRequest, Response, Status, Streaming, body::Body, client::Grpc};
use tonic_prost::ProstCodec;
use tower_service::Service;

use super::{LONG, Order};
use crate::control::Owned;

/// A connection that ends when its last clone is dropped. It has no deadline of its own, so what ends a call is the
/// server.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    requests: http2::SendRequest<Body>,
    task: Arc<Mutex<Owned<hyper::Result<()>>>>,
}

impl Connection {
    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        Self::try_over(io).await.unwrap()
    }

    /// Over a connection that the server may have closed already.
    pub(crate) async fn try_over(
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let (requests, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(io)).await?;
        Ok(Self {
            requests,
            task: Arc::new(Mutex::new(Owned(tokio::spawn(connection)))),
        })
    }

    /// Waits until the connection has ended.
    pub(crate) async fn ended(&self) {
        let mut task = self.task.lock().await;
        // An error is an end, too.
        let _ = timeout(LONG, &mut task.0)
            .await
            .expect("the connection should end");
    }

    pub(crate) async fn call(&self, order: impl IntoRequest<Order>) -> Result<Response<Order>, Status> {
        self.call_at("/test.Echo/Call", order).await
    }

    pub(crate) async fn call_at(
        &self,
        path: &'static str,
        order: impl IntoRequest<Order>,
    ) -> Result<Response<Order>, Status> {
        let mut grpc = Grpc::new(self.clone());
        let path = PathAndQuery::from_static(path);
        within_long(grpc.unary(order.into_request(), path, ProstCodec::default())).await
    }

    /// A call of one text, answered by one.
    pub(crate) async fn say(&self, text: &str) -> Result<String, Status> {
        Ok(self
            .call(tonic::Request::new(Order::new(text)))
            .await?
            .into_inner()
            .text)
    }

    pub(crate) async fn stream(
        &self,
        order: impl IntoRequest<Order>,
    ) -> Result<Response<Streaming<Order>>, Status> {
        let mut grpc = Grpc::new(self.clone());
        let path = PathAndQuery::from_static("/test.Echo/Stream");
        within_long(grpc.server_streaming(order.into_request(), path, ProstCodec::default())).await
    }

    pub(crate) async fn collect(
        &self,
        orders: impl IntoStreamingRequest<Message = Order>,
    ) -> Result<Response<Order>, Status> {
        let mut grpc = Grpc::new(self.clone());
        let path = PathAndQuery::from_static("/test.Echo/Collect");
        within_long(grpc.client_streaming(orders.into_streaming_request(), path, ProstCodec::default())).await
    }
}

impl Connection {
    /// Calls the method that answers with a stream as generated clients of Go Micro's do: without closing their side.
    pub(crate) async fn stream_without_end(&self, text: &str) -> Result<Response<Streaming<Order>>, Status> {
        let mut grpc = Grpc::new(self.clone());
        let path = PathAndQuery::from_static("/test.Echo/Stream");
        let orders = tokio_stream::iter([Order::new(text)]).chain(tokio_stream::pending());
        within_long(grpc.streaming(orders.into_streaming_request(), path, ProstCodec::default())).await
    }
}

async fn within_long<T>(call: impl Future<Output = T>) -> T {
    timeout(LONG, call).await.expect("the call should end")
}

impl Service<http::Request<Body>> for Connection {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<http::Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut parts = request.uri().clone().into_parts();
        parts.scheme = Some(http::uri::Scheme::HTTP);
        parts.authority = Some(http::uri::Authority::from_static("test"));
        *request.uri_mut() = Uri::from_parts(parts).unwrap();
        Box::pin(self.requests.send_request(request))
    }
}
