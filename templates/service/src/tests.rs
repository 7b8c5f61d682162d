//! The whole service in this process, called by its own client over a registry in memory.

use std::{sync::Arc, time::Duration};

use micro::{Channel, registry::Memory};
use tokio::sync::oneshot;
use tonic::Code;

use crate::{
    NAME,
    proto::{GreetingsRequest, HelloRequest, say_client::SayClient},
};

/// A client of the service, which runs until the test's runtime ends.
async fn start() -> SayClient<Channel> {
    let (started, has_started) = oneshot::channel();
    let service = crate::service()
        .registry(Arc::new(Memory::default()))
        .after_start(|_| async { started.send(()).unwrap() })
        .drain_delay(Duration::ZERO)
        .without_signals()
        .build()
        .unwrap();
    let say = SayClient::new(service.client().channel(NAME));
    tokio::spawn(service.run());
    has_started.await.unwrap();
    say
}

#[tokio::test]
async fn hello_greets_by_name() {
    let mut say = start().await;
    let ada = HelloRequest { name: "Ada".into() };
    let reply = say.hello(ada).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello Ada");
    let refused = say.hello(HelloRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn greetings_come_as_often_as_asked() {
    let mut say = start().await;
    let request = GreetingsRequest {
        name: "Ada".into(),
        count: 2,
    };
    let mut greetings = say.greetings(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(reply) = greetings.message().await.unwrap() {
        messages.push(reply.message);
    }
    assert_eq!(messages, ["Hello Ada, 1 of 2", "Hello Ada, 2 of 2"]);
}
