//! A gRPC service written by hand: the text of a request says what its handler does.

use std::{
    convert::Infallible,
    future::pending,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt, future::BoxFuture, stream};
use http::HeaderValue;
use prost::Message;
use prost_types::{
    Any, DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};
use tokio::sync::{Notify, watch};
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    server::{Grpc, NamedService},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_service::Service;

use crate::CallContext;

pub(crate) const ECHO: &str = "test.Echo";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

impl Order {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }
}

/// Counts its handlers, those of open streams included.
#[derive(Clone, Debug, Default)]
pub(crate) struct Echo {
    pub(crate) running: watch::Sender<usize>,
    /// Lets a handler that waits go on.
    pub(crate) released: Arc<Notify>,
}

struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<Order, Status>> + Send>>;

impl Echo {
    fn run(&self) -> Running {
        self.running.send_modify(|running| *running += 1);
        Running(self.running.clone())
    }

    async fn call(self, request: Request<Order>) -> Result<Response<Order>, Status> {
        let _running = self.run();
        let text = match request.get_ref().text.as_str() {
            "panic" => panic!("the secret of a call"),
            "never" => pending().await,
            "peer" => request.remote_addr().unwrap().to_string(),
            "context" => context(),
            "wait" => {
                self.released.notified().await;
                "waited".to_owned()
            }
            "refused" => return Err(with_refusal(Status::unavailable("elsewhere"))),
            "detailed" => return Err(detailed()),
            "marked" => {
                let mut response = Response::new(Order::new("marked"));
                mark(response.metadata_mut());
                return Ok(response);
            }
            text => text.to_owned(),
        };
        Ok(Response::new(Order::new(text)))
    }

    async fn stream(self, request: Request<Order>) -> Result<Response<Answers>, Status> {
        let running = self.run();
        let first = stream::iter([Ok(Order::new("first"))]);
        let answers: Answers = match request.get_ref().text.as_str() {
            "panic" => Box::pin(first.chain(stream::once(async {
                // What is ready at once goes into one frame, which a panic takes along.
                tokio::task::yield_now().await;
                panic!("the secret of a stream")
            }))),
            "never" => Box::pin(first.chain(stream::pending())),
            "flood" => Box::pin(stream::repeat_with(|| Ok(Order::new("x".repeat(10_000))))),
            "context" => Box::pin(stream::once(async { Ok(Order::new(context())) })),
            "refused" => Box::pin(first.chain(stream::once(async {
                Err(with_refusal(Status::unavailable("elsewhere")))
            }))),
            _ => Box::pin(first),
        };
        let answers = answers.map(move |answer| {
            let _ = &running;
            answer
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn collect(self, request: Request<tonic::Streaming<Order>>) -> Result<Response<Order>, Status> {
        let _running = self.run();
        let mut orders = request.into_inner();
        let mut texts = Vec::new();
        while let Some(order) = orders.message().await? {
            texts.push(order.text);
        }
        Ok(Response::new(Order::new(texts.join(" "))))
    }
}

/// What the handler's calls would inherit.
fn context() -> String {
    let context = CallContext::current();
    let user = context
        .metadata()
        .and_then(|metadata| metadata.get("x-md-global-user"))
        .map_or("nobody", |user| user.to_str().unwrap());
    format!("{user}, deadline {}", context.deadline().is_some())
}

fn mark(metadata: &mut tonic::metadata::MetadataMap) {
    metadata.insert("micro-refused", "wrong-service".parse().unwrap());
}

fn with_refusal(mut status: Status) -> Status {
    mark(status.metadata_mut());
    status
}

/// A status as handlers write it that tell more than a text.
fn detailed() -> Status {
    Status::with_details(
        Code::NotFound,
        "nobody of this name",
        status_details(&[detail()]).into(),
    )
}

/// What such a status tells more.
pub(crate) fn detail() -> Any {
    Any {
        type_url: "type.googleapis.com/test.Order".into(),
        value: Order::new("more").encode_to_vec(),
    }
}

/// `google.rpc.Status` of these details.
fn status_details(details: &[Any]) -> Vec<u8> {
    let mut encoded = Vec::new();
    prost::encoding::message::encode_repeated(3, details, &mut encoded);
    encoded
}

impl NamedService for Echo {
    const NAME: &'static str = ECHO;
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let echo = self.clone();
        let mut grpc = Grpc::new(ProstCodec::<Order, Order>::default());
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/test.Echo/Call" => {
                    grpc.unary(service_fn(move |request| echo.clone().call(request)), request)
                        .await
                }
                "/test.Echo/Stream" => {
                    let handler = service_fn(move |request| echo.clone().stream(request));
                    grpc.server_streaming(handler, request).await
                }
                "/test.Echo/Collect" => {
                    let handler = service_fn(move |request| echo.clone().collect(request));
                    grpc.client_streaming(handler, request).await
                }
                _ => {
                    let mut response = Status::unimplemented("no such method").into_http();
                    response
                        .headers_mut()
                        .insert("x-echo", HeaderValue::from_static("1"));
                    response
                }
            })
        })
    }
}

/// What protoc would tell of the service.
pub(crate) fn descriptors() -> Vec<u8> {
    let method = |name: &str, client_streaming, server_streaming| MethodDescriptorProto {
        name: Some(name.into()),
        input_type: Some(".test.Order".into()),
        output_type: Some(".test.Order".into()),
        client_streaming: Some(client_streaming),
        server_streaming: Some(server_streaming),
        options: None,
    };
    let echo = ServiceDescriptorProto {
        name: Some("Echo".into()),
        method: vec![
            method("Call", false, false),
            method("Stream", false, true),
            method("Collect", true, false),
        ],
        options: None,
    };
    let other = ServiceDescriptorProto {
        name: Some("NotAdded".into()),
        method: vec![method("Call", false, false)],
        options: None,
    };
    let text = FieldDescriptorProto {
        name: Some("text".into()),
        number: Some(1),
        label: Some(Label::Optional as i32),
        r#type: Some(Type::String as i32),
        ..FieldDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("test.proto".into()),
        package: Some("test".into()),
        syntax: Some("proto3".into()),
        message_type: vec![DescriptorProto {
            name: Some("Order".into()),
            field: vec![text],
            ..DescriptorProto::default()
        }],
        service: vec![echo, other],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}
