//! The whole service in this process, called by its own client over a registry in memory.

use std::{sync::Arc, time::Duration};

use micro::registry::Memory;
use tonic::Code;

use crate::proto::{HelloRequest, say_client::SayClient};

#[tokio::test]
async fn hello_greets_by_name() {
    let service = crate::service()
        .registry(Arc::new(Memory::default()))
        .drain_delay(Duration::ZERO)
        .build()
        .unwrap();
    let mut say = SayClient::new(service.client().channel("{{service_name}}"));
    let stop = service.cancellation_token();
    let running = tokio::spawn(service.run());

    let reply = say.hello(HelloRequest { name: "Ada".into() }).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello Ada");
    let refused = say.hello(HelloRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    stop.cancel();
    running.await.unwrap().unwrap();
}
