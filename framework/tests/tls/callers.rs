//! What a handler knows of who calls it.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use micro::{Caller, Client};
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

use crate::{
    NODE, TRUSTING, mutual, showing,
    support::{LONG, World},
};

/// Answers with who calls.
#[derive(Clone)]
struct WhoCalls;

impl NamedService for WhoCalls {
    const NAME: &'static str = "test.WhoCalls";
}

impl Service<http::Request<Body>> for WhoCalls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let mut grpc = Grpc::new(ProstCodec::<String, String>::default());
        Box::pin(async move {
            let handler = service_fn(async |request: Request<String>| {
                let caller = request.extensions().get::<Caller>();
                let told = caller.map_or("nobody".to_owned(), |caller| {
                    let (names, uris): (Vec<_>, Vec<_>) =
                        (caller.dns_names().collect(), caller.uris().collect());
                    format!("{names:?} {uris:?} {:?}", caller.common_name())
                });
                Ok::<_, Status>(Response::new(told))
            });
            Ok(grpc.unary(handler, request).await)
        })
    }
}

async fn who_calls(client: &Client) -> String {
    let mut grpc = ClientGrpc::new(client.channel("greeter"));
    grpc.ready().await.unwrap();
    let mut request = Request::new(String::new());
    request.set_timeout(LONG);
    let path = PathAndQuery::from_static("/test.WhoCalls/Tell");
    let codec = ProstCodec::<String, String>::default();
    grpc.unary(request, path, codec).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_handler_knows_the_names_in_the_certificate_of_each_caller() {
    let mut world = World::new();
    let names = ["billing", "billing.internal", "spiffe://test/billing"];
    world.issue(&world.authority, "billing", &names);
    let greeter = world.service("greeter", &mutual("")).add_service(WhoCalls);
    world.run(greeter).await;
    let (orders, billing) = (
        world.client(&showing("caller")).await,
        world.client(&showing("billing")).await,
    );
    // In turn, and more than once over the connection of each.
    for _ in 0..2 {
        assert_eq!(
            who_calls(&orders).await,
            r#"["orders"] [] Some("the orders of a test")"#
        );
        assert_eq!(
            who_calls(&billing).await,
            r#"["billing", "billing.internal"] ["spiffe://test/billing"] Some("the billing of a test")"#
        );
    }
}

#[tokio::test]
async fn a_service_that_asks_for_no_certificate_knows_nobody() {
    let mut world = World::new();
    let greeter = world.service("greeter", NODE).add_service(WhoCalls);
    world.run(greeter).await;
    assert_eq!(who_calls(&world.client(TRUSTING).await).await, "nobody");
    // One that is shown all the same was not asked for, and is not looked at.
    assert_eq!(who_calls(&world.client(&showing("caller")).await).await, "nobody");
}
