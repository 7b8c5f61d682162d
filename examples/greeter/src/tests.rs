//! The whole service in this process, called by its own client over a registry in memory.

use std::sync::Arc;

use micro::{Channel, Peer, registry::Memory};
use tokio::sync::oneshot;
use tonic::Code;

use crate::greeter::{GreetingsRequest, HelloRequest, say_client::SayClient};

/// The id of a greeter that runs until the test's runtime ends, and its client.
async fn start() -> (String, SayClient<Channel>) {
    let (started, has_started) = oneshot::channel();
    let service = crate::service()
        .registry(Arc::new(Memory::default()))
        .after_start(|_| async { started.send(()).unwrap() })
        .without_signals()
        .build()
        .unwrap();
    let id = service.id().to_owned();
    let say = SayClient::new(service.client().channel("greeter"));
    tokio::spawn(service.run());
    has_started.await.unwrap();
    (id, say)
}

#[tokio::test]
async fn hello_greets_by_name_and_the_answer_names_the_node() {
    let (id, mut say) = start().await;
    let reply = say.hello(HelloRequest { name: "Ada".into() }).await.unwrap();
    assert_eq!(reply.extensions().get::<Peer>().unwrap().node_id(), id);
    assert_eq!(reply.into_inner().message, "Hello Ada");
}

#[tokio::test]
async fn greetings_come_as_often_as_asked() {
    let (_, mut say) = start().await;
    let request = GreetingsRequest {
        name: "Ada".into(),
        count: 2,
        interval_ms: 1,
    };
    let mut greetings = say.greetings(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(reply) = greetings.message().await.unwrap() {
        messages.push(reply.message);
    }
    assert_eq!(messages, ["Hello Ada, 1 of 2", "Hello Ada, 2 of 2"]);
}

#[tokio::test]
async fn nobody_and_too_many_are_refused() {
    let (_, mut say) = start().await;
    let refused = say.hello(HelloRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let too_many = GreetingsRequest {
        name: "Ada".into(),
        count: 1_001,
        interval_ms: 0,
    };
    let refused = say.greetings(too_many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}
