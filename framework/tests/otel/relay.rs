//! A gRPC service written by hand that asks the next one, if there is one, and else answers itself.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use micro::{
    CallContext, Channel,
    prost::Message,
    prost_types::{
        DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
        ServiceDescriptorProto,
    },
};
use tonic::{
    Request, Response, Status,
    body::Body,
    client::Grpc as ClientGrpc,
    codegen::http::{self, uri::PathAndQuery},
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_service::Service;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The text of a request says what happens to it.
#[derive(Clone)]
pub(crate) struct Relay {
    next: Option<Channel>,
}

impl Relay {
    pub(crate) fn new(next: Option<Channel>) -> Self {
        Self { next }
    }

    async fn relay(self, request: Request<String>) -> Result<Response<String>, Status> {
        let text = request.get_ref().clone();
        if let Some(next) = self.next {
            let call = async move {
                let mut grpc = ClientGrpc::new(next);
                grpc.ready().await?;
                let (path, codec) = (PathAndQuery::from_static(super::CALL), ProstCodec::default());
                let request = Request::new(request.into_inner());
                grpc.unary::<String, String, _>(request, path, codec).await
            };
            if !text.contains("spawn") {
                return call.await;
            }
            let spawned = tokio::spawn(CallContext::current().scope(call));
            return spawned.await.unwrap();
        }
        match text.as_str() {
            "traceparent" => {
                let parent = request.metadata().get("traceparent");
                let parent = parent.map(|parent| parent.to_str().unwrap().to_owned());
                Ok(Response::new(parent.unwrap_or_default()))
            }
            text if text.contains("fail") => Err(Status::internal("as it was told")),
            text => Ok(Response::new(text.to_owned())),
        }
    }
}

impl NamedService for Relay {
    const NAME: &'static str = "test.Relay";
}

impl Service<http::Request<Body>> for Relay {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let relay = self.clone();
        let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
        Box::pin(async move {
            let handler = service_fn(move |request| relay.clone().relay(request));
            Ok(grpc.unary(handler, request).await)
        })
    }
}

/// What protoc would tell of the service.
pub(crate) fn descriptors() -> Vec<u8> {
    let message = DescriptorProto {
        name: Some("Text".into()),
        ..Default::default()
    };
    let method = MethodDescriptorProto {
        name: Some("Call".into()),
        input_type: Some(".test.Text".into()),
        output_type: Some(".test.Text".into()),
        ..Default::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Relay".into()),
        method: vec![method],
        options: None,
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".into()),
        package: Some("test".into()),
        message_type: vec![message],
        service: vec![service],
        syntax: Some("proto3".into()),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}
