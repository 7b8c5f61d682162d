//! The whole service in this process, called by its own client over a registry in memory.

use std::{sync::Arc, time::Duration};

use micro::registry::Memory;
use tokio::sync::oneshot;
use tonic::Code;

use crate::proto::{HelloRequest, say_client::SayClient};

#[tokio::test]
async fn hello_greets_by_name() {
    let (started, has_started) = oneshot::channel();
    let service = crate::service()
        .registry(Arc::new(Memory::default()))
        .after_start(|_| async { started.send(()).unwrap() })
        .drain_delay(Duration::ZERO)
        .without_signals()
        .build()
        .unwrap();
    let mut say = SayClient::new(service.client().channel("{{service_name}}"));
    let stop = service.cancellation_token();
    let running = tokio::spawn(service.run());
    has_started.await.unwrap();

    let ada = HelloRequest { name: "Ada".into() };
    let reply = say.hello(ada).await.unwrap();
    assert_eq!(reply.into_inner().message, "Hello Ada");
    let refused = say.hello(HelloRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    stop.cancel();
    running.await.unwrap().unwrap();
}
