//! A server for tests: the services of `tests/proto/shop.proto`, served without generated code.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService},
    service::Routes,
    transport::Server,
};

use super::codec::DynamicCodec;

/// Which reflection a [`Fake`] offers.
#[derive(Clone, Copy)]
pub(crate) enum Reflection {
    V1,
    V1AlphaOnly,
    None,
}

/// A running server; dropping it stops it.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(reflection: Reflection) -> Self {
        let pool = pool();
        let set = pool.encode_to_vec();
        let builder =
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(&set);
        let mut routes = Routes::builder();
        routes.add_service(Shop { pool: pool.clone() });
        // Health of the whole is serving from the start.
        routes.add_service(tonic_health::server::health_reporter().1);
        match reflection {
            Reflection::V1 => {
                routes.add_service(builder.build_v1().unwrap());
            }
            Reflection::V1AlphaOnly => {
                routes.add_service(builder.build_v1alpha().unwrap());
            }
            Reflection::None => {}
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Server::builder()
            .add_routes(routes.routes())
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Self { address, task }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The descriptors of the test protos.
pub(crate) fn pool() -> DescriptorPool {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proto");
    let set = protox::compile(["shop.proto"], [folder]).unwrap();
    DescriptorPool::decode(set.encode_to_vec().as_slice()).unwrap()
}

#[derive(Clone)]
struct Shop {
    pool: DescriptorPool,
}

impl NamedService for Shop {
    const NAME: &'static str = "shop.Shop";
}

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl tower_service::Service<http::Request<Body>> for Shop {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let service = self.pool.get_service_by_name(Self::NAME).unwrap();
        let method = service.methods().find(|method| method.name() == name);
        Box::pin(async move {
            let Some(method) = method else {
                return Ok(Status::unimplemented(name).into_http());
            };
            let mut grpc = Grpc::new(DynamicCodec::new(method.input()));
            Ok(grpc.streaming(Handler { method }, request).await)
        })
    }
}

struct Handler {
    method: MethodDescriptor,
}

impl StreamingService<DynamicMessage> for Handler {
    type Response = DynamicMessage;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;
    type Future = Answering<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<DynamicMessage>>) -> Self::Future {
        let method = self.method.clone();
        let suffix = request
            .metadata()
            .get("suffix")
            .map_or(String::new(), |suffix| suffix.to_str().unwrap().to_owned());
        let mut orders = request.into_inner();
        Box::pin(async move {
            let stream: Self::ResponseStream = match method.name() {
                "Total" => {
                    let names: Vec<_> = orders.map(|order| name(&order.unwrap())).collect().await;
                    let count = i32::try_from(names.len()).unwrap();
                    Box::pin(tokio_stream::once(reply(
                        &method,
                        &names.join(" "),
                        &suffix,
                        count,
                    )))
                }
                "Chat" => Box::pin(orders.map(move |order| reply(&method, &name(&order?), &suffix, 1))),
                times => {
                    let count = if times == "Track" { 3 } else { 1 };
                    let name = name(&orders.message().await?.unwrap());
                    if name == "sloth" {
                        std::future::pending::<()>().await;
                    }
                    let replies = (1..=count).map(move |count| reply(&method, &name, &suffix, count));
                    Box::pin(tokio_stream::iter(replies))
                }
            };
            Ok(Response::new(stream))
        })
    }
}

fn name(order: &DynamicMessage) -> String {
    let name = order.get_field_by_name("name").unwrap();
    name.as_str().unwrap().to_owned()
}

/// An error for `nobody`, and else a greeting.
fn reply(method: &MethodDescriptor, name: &str, suffix: &str, count: i32) -> Result<DynamicMessage, Status> {
    if name == "nobody" {
        return Err(Status::not_found("there is nobody"));
    }
    let mut reply = DynamicMessage::new(method.output());
    reply.set_field_by_name("message", Value::String(format!("Hello {name}{suffix}")));
    reply.set_field_by_name("count", Value::I32(count));
    Ok(reply)
}
