//! The whole service in this process, between its own client and another in place of `{{callee_name}}`.

use std::{sync::Arc, time::Duration};

use micro::{Client, Service, ServiceBuilder, registry::Memory};
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status};

use crate::{
    CALLEE, NAME,
    proto::{
        callee::{
            HelloReply, HelloRequest,
            say_server::{Say, SayServer},
        },
        own::{WelcomeRequest, reception_client::ReceptionClient},
    },
};

/// Who stands in for the other service.
struct Mirror;

#[tonic::async_trait]
impl Say for Mirror {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let HelloRequest { name } = request.into_inner();
        if name.is_empty() {
            return Err(Status::invalid_argument("`name` is empty"));
        }
        Ok(Response::new(HelloReply {
            message: format!("Hello {name}"),
        }))
    }
}

/// Runs a service until the test's runtime ends, and answers with its client.
async fn run(service: ServiceBuilder, registry: &Arc<Memory>) -> Client {
    let (started, has_started) = oneshot::channel();
    let service = service
        .registry(registry.clone())
        .after_start(|_| async { started.send(()).unwrap() })
        .drain_delay(Duration::ZERO)
        .without_signals()
        .build()
        .unwrap();
    let client = service.client();
    tokio::spawn(service.run());
    has_started.await.unwrap();
    client
}

#[tokio::test]
async fn who_comes_is_greeted_by_the_other_and_welcomed() {
    let registry = Arc::new(Memory::default());
    let mirror = Service::builder(CALLEE)
        .id("mirror")
        .add_service(SayServer::new(Mirror));
    run(mirror, &registry).await;
    let client = run(crate::service(), &registry).await;
    let mut reception = ReceptionClient::new(client.channel(NAME));

    let ada = WelcomeRequest { name: "Ada".into() };
    let reply = reception.welcome(ada).await.unwrap().into_inner();
    assert_eq!(reply.message, "Hello Ada, welcome");
    assert_eq!(reply.greeted_by, "mirror");

    let nobody = WelcomeRequest::default();
    let refused = reception.welcome(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
