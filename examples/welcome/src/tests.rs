//! The service in this process, between a caller and a greeter that shows what reaches it.

use std::{sync::Arc, time::Duration};

use micro::{CallContext, Channel, Client, Service, ServiceBuilder, registry::Memory};
use tokio::sync::oneshot;
use tonic::{Code, Request, Response, Status, codegen::BoxStream};

use crate::proto::{
    greeter::{
        GreetingsRequest, HelloReply, HelloRequest,
        say_server::{Say, SayServer},
    },
    welcome::{WelcomeRequest, reception_client::ReceptionClient},
};

/// Less than what a call may take by default, so that it shows.
const DEADLINE: Duration = Duration::from_secs(4);

/// A greeter that answers with what came along: the tenant, and whether the caller's deadline did.
struct Mirror;

#[tonic::async_trait]
impl Say for Mirror {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        if request.get_ref().name.is_empty() {
            return Err(Status::invalid_argument("`name` is empty"));
        }
        let tenant = request.metadata().get("x-md-global-tenant");
        let tenant = tenant.and_then(|tenant| tenant.to_str().ok()).unwrap_or("nobody");
        let is_hurried = CallContext::current()
            .remaining()
            .is_some_and(|remaining| remaining <= DEADLINE);
        let message = format!("{tenant}, hurried: {is_hurried}");
        Ok(Response::new(HelloReply { message }))
    }

    type GreetingsStream = BoxStream<HelloReply>;

    async fn greetings(
        &self,
        _: Request<GreetingsRequest>,
    ) -> Result<Response<Self::GreetingsStream>, Status> {
        Err(Status::unimplemented("a mirror has one face"))
    }
}

/// Runs a mirror called `greeter` and the service, until the test's runtime ends, and answers with the service's client.
async fn start() -> ReceptionClient<Channel> {
    let registry = Arc::new(Memory::default());
    let mirror = Service::builder("greeter")
        .id("mirror")
        .add_service(SayServer::new(Mirror));
    run(mirror, registry.clone()).await;
    ReceptionClient::new(run(crate::service(), registry).await.channel("welcome"))
}

async fn run(service: ServiceBuilder, registry: Arc<Memory>) -> Client {
    let (started, has_started) = oneshot::channel();
    let service = service
        .registry(registry)
        .after_start(|_| async { started.send(()).unwrap() })
        .without_signals()
        .build()
        .unwrap();
    let client = service.client();
    tokio::spawn(service.run());
    has_started.await.unwrap();
    client
}

fn request(name: &str) -> Request<WelcomeRequest> {
    Request::new(WelcomeRequest { name: name.into() })
}

#[tokio::test]
async fn deadline_and_metadata_travel_on() {
    let mut welcome = start().await;
    let mut request = request("Ada");
    request.set_timeout(DEADLINE);
    request
        .metadata_mut()
        .insert("x-md-global-tenant", "acme".parse().unwrap());
    let reply = welcome.welcome(request).await.unwrap().into_inner();
    assert_eq!(reply.message, "acme, hurried: true, welcome");
    assert_eq!(reply.greeted_by, "mirror");
}

#[tokio::test]
async fn what_the_greeter_refuses_is_refused() {
    let mut welcome = start().await;
    let refused = welcome.welcome(request("")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`name` is empty"), "{refused}");
}
