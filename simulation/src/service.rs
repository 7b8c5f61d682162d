//! The service that is simulated: two methods that take a number and answer with the node, one of them idempotent.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use micro::{
    prost::Message,
    prost_types::{
        FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, MethodOptions, ServiceDescriptorProto,
        method_options::IdempotencyLevel,
    },
};
use tokio::time;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::BoxFuture,
    server::{Grpc, NamedService, UnaryService},
};
use tonic_prost::ProstCodec;
use tower_service::Service;

use crate::world::World;

/// The name under which it is registered.
pub(crate) const NAME: &str = "greeter";
/// A method that may run twice.
pub(crate) const IDEMPOTENT: &str = "/simulation.Greeter/Idempotent";
/// A method that must not.
pub(crate) const ONCE: &str = "/simulation.Greeter/Once";
/// The longest that a handler works, unless a fault makes it slower.
const WORK_MAX: Duration = Duration::from_millis(20);

/// The handlers of one node.
#[derive(Clone, Debug)]
pub(crate) struct Greeter {
    pub(crate) world: Arc<World>,
    pub(crate) server: usize,
    pub(crate) node: Arc<str>,
}

impl NamedService for Greeter {
    const NAME: &'static str = "simulation.Greeter";
}

impl Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<String, u64>::default();
            Ok(Grpc::new(codec).unary(greeter, request).await)
        })
    }
}

impl UnaryService<u64> for Greeter {
    type Response = String;
    type Future = BoxFuture<Response<String>, Status>;

    fn call(&mut self, request: Request<u64>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move {
            greeter.world.executed(request.into_inner(), &greeter.node);
            let slowed = greeter.world.slowed(greeter.server);
            time::sleep(WORK_MAX.mul_f64(fastrand::f64()) + slowed).await;
            Ok(Response::new(greeter.node.to_string()))
        })
    }
}

/// The descriptors of the two methods.
pub(crate) fn descriptors() -> Vec<u8> {
    let method = |name: &str, level: IdempotencyLevel| MethodDescriptorProto {
        name: Some(name.to_owned()),
        input_type: Some(".google.protobuf.UInt64Value".to_owned()),
        output_type: Some(".google.protobuf.StringValue".to_owned()),
        options: Some(MethodOptions {
            idempotency_level: Some(level.into()),
            ..MethodOptions::default()
        }),
        ..MethodDescriptorProto::default()
    };
    let service = ServiceDescriptorProto {
        name: Some("Greeter".to_owned()),
        method: vec![
            method("Idempotent", IdempotencyLevel::Idempotent),
            method("Once", IdempotencyLevel::IdempotencyUnknown),
        ],
        ..ServiceDescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("simulation.proto".to_owned()),
        package: Some("simulation".to_owned()),
        service: vec![service],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}
