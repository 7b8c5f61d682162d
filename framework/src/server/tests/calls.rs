//! Calls that go well, the layers around them, and what tells of them.

use http::{HeaderValue, Request, Response};
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{ServiceBuilder, service_fn};

use super::support::{ECHO, Echo, Order, TestServer, descriptors};
use crate::{
    ErrorKind,
    server::{ServerBuilder, Settings},
};

#[tokio::test]
async fn calls_and_streams_are_answered() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
    let orders = tokio_stream::iter([Order::new("a"), Order::new("b")]);
    assert_eq!(connection.collect(orders).await.unwrap().into_inner().text, "a b");
    let mut stream = connection
        .stream(tonic::Request::new(Order::new("")))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().text, "first");
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test]
async fn a_handler_knows_the_address_of_its_caller() {
    let server = TestServer::start(Settings::default()).await;
    let peer = server.connect().await.say("peer").await.unwrap();
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
}

#[tokio::test]
async fn a_handler_and_its_stream_run_in_the_context_of_the_call() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    let mut request = tonic::Request::new(Order::new("context"));
    request.set_timeout(super::support::LONG);
    request
        .metadata_mut()
        .insert("x-md-global-user", "ada".parse().unwrap());
    let streamed = tonic::Request::from_parts(
        request.metadata().clone(),
        tonic::Extensions::default(),
        Order::new("context"),
    );
    let answer = connection.call(request).await.unwrap().into_inner();
    assert_eq!(answer.text, "ada, deadline true");
    let mut stream = connection.stream(streamed).await.unwrap().into_inner();
    let answer = stream.message().await.unwrap().unwrap();
    assert_eq!(answer.text, "ada, deadline true");
    assert_eq!(connection.say("context").await.unwrap(), "nobody, deadline false");
}

#[tokio::test]
async fn the_layer_added_first_meets_a_request_first() {
    let append = |word: &'static str| {
        tower::layer::layer_fn(move |inner: crate::server::BoxService| {
            ServiceBuilder::new()
                .map_request(move |mut request: Request<Body>| {
                    let seen = request.headers().get("x-md-global-user").cloned();
                    let seen = seen.map_or(String::new(), |seen| seen.to_str().unwrap().to_owned());
                    let value = HeaderValue::try_from(format!("{seen}{word}")).unwrap();
                    request.headers_mut().insert("x-seen", value);
                    let value = request.headers()["x-seen"].clone();
                    request.headers_mut().insert("x-md-global-user", value);
                    request
                })
                .service(inner)
        })
    };
    let echo_seen = tower::layer::layer_fn(|_| {
        service_fn(|request: Request<Body>| async move {
            let seen = request.headers()["x-seen"].to_str().unwrap().to_owned();
            Err::<Response<Body>, _>(Status::aborted(seen))
        })
    });
    let server = TestServer::start_with(Settings::default(), |builder| {
        builder
            .layer(append("one,"))
            .layer(append("two"))
            .layer(echo_seen)
    })
    .await;
    let status = server.connect().await.say("hello").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "one,two"));
}

#[tokio::test]
async fn an_unknown_service_and_an_unknown_method_are_unimplemented() {
    let server = TestServer::start(Settings::default()).await;
    let connection = server.connect().await;
    for path in ["/test.Echo/Other", "/test.Other/Call"] {
        let mut grpc = tonic::client::Grpc::new(connection.clone());
        let status = grpc
            .unary(
                tonic::Request::new(Order::new("")),
                path.parse().unwrap(),
                tonic_prost::ProstCodec::<Order, Order>::default(),
            )
            .await
            .unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}

#[tokio::test]
async fn health_is_told_for_each_service_for_the_registered_name_and_for_all() {
    let server = TestServer::start(Settings::default()).await;
    let mut client = HealthClient::new(server.connect().await);
    for serving in [false, true] {
        server.server.health().set_serving(serving);
        for service in ["", ECHO, "echo"] {
            let request = HealthCheckRequest {
                service: service.into(),
            };
            let expected = if serving {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            };
            let status = client.check(request).await.unwrap().into_inner().status();
            assert_eq!(status, expected, "{service:?}");
        }
    }
    let request = HealthCheckRequest {
        service: "other".into(),
    };
    assert_eq!(client.check(request).await.unwrap_err().code(), Code::NotFound);
}

/// The two versions of the protocol are the same messages under types of their own.
macro_rules! reflection_test {
    ($name:ident, $version:ident) => {
        #[tokio::test]
        async fn $name() {
            use tonic_reflection::pb::$version::{
                ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
                server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
            };

            let server = TestServer::start(Settings::default()).await;
            let mut client = ServerReflectionClient::new(server.connect().await);
            let requests = [
                MessageRequest::ListServices(String::new()),
                MessageRequest::FileContainingSymbol("test.Echo.Call".into()),
                MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into()),
            ]
            .map(|request| ServerReflectionRequest {
                host: String::new(),
                message_request: Some(request),
            });
            let mut answers = client
                .server_reflection_info(tokio_stream::iter(requests))
                .await
                .unwrap()
                .into_inner();
            let mut next = async || {
                answers
                    .message()
                    .await
                    .unwrap()
                    .unwrap()
                    .message_response
                    .unwrap()
            };
            let MessageResponse::ListServicesResponse(list) = next().await else {
                panic!("not a list");
            };
            let mut names: Vec<String> = list
                .service
                .into_iter()
                .map(|service| service.name)
                .collect();
            names.sort();
            assert_eq!(
                names,
                [
                    "grpc.health.v1.Health",
                    "grpc.reflection.v1.ServerReflection",
                    "grpc.reflection.v1alpha.ServerReflection",
                    "test.Echo",
                ]
            );
            for _ in 0..2 {
                assert!(matches!(
                    next().await,
                    MessageResponse::FileDescriptorResponse(_)
                ));
            }
        }
    };
}

reflection_test!(reflection_v1_tells_of_what_is_served, v1);
reflection_test!(reflection_v1alpha_tells_of_what_is_served, v1alpha);

#[test]
fn the_methods_are_those_of_the_services_that_were_added() {
    let builder = super::support::builder(Settings::default(), Echo::default());
    let methods: Vec<String> = builder
        .build()
        .unwrap()
        .methods()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        methods,
        ["test.Echo/Call", "test.Echo/Stream", "test.Echo/Collect"]
    );
}

#[test]
fn what_cannot_be_served_is_refused_before_anything_listens() {
    let server = || ServerBuilder::new("echo".parse().unwrap(), Settings::default());
    let health = tonic_health::server::health_reporter().1;
    let zero = Settings {
        streams_max: 0,
        ..Settings::default()
    };
    for (builder, named) in [
        (
            server().add_service(Echo::default()).add_service(Echo::default()),
            ECHO,
        ),
        (server().add_service(health), "grpc.health.v1.Health"),
        (server().descriptors(&b"\xff\xff"[..]), "descriptor"),
        (server().settings(zero), "streams_max"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn a_service_without_descriptors_and_descriptors_given_twice_are_fine() {
    let server = || ServerBuilder::new("echo".parse().unwrap(), Settings::default());
    let built = server().add_service(Echo::default()).build().unwrap();
    assert!(built.methods().is_empty());
    let twice = server()
        .add_service(Echo::default())
        .descriptors(descriptors())
        .descriptors(descriptors());
    assert_eq!(twice.build().unwrap().methods().len(), 3);
}
