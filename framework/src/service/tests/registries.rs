//! A registry that is away, and the services that share one.

use std::{sync::Arc, time::Duration};

use micro_registry::{ErrorKind, Memory, Registry};
use tokio::{sync::mpsc, time};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::support::*;
use crate::Service;

const TTL: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn a_service_lives_without_its_registry_and_is_ready_soon_after_that_is_back() {
    let (world, builder) = World::new([]);
    world.registry.always(Act::Fail(ErrorKind::Unavailable));
    let run = world.start(builder);
    time::sleep(Duration::from_secs(600)).await;
    assert!(!world.is_ready() && !run.task.is_finished());
    let events = world.log.events();
    assert!(
        !events.iter().any(|event| event.starts_with("after_start")),
        "{events:?}"
    );
    world.registry.always(Act::Answer);
    time::sleep(Duration::from_secs(7)).await;
    assert!(world.is_ready());
    assert_eq!(world.log.events().last().unwrap(), "after_start, ready");
    run.token.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_outage_takes_neither_readiness_nor_the_node() {
    let (world, builder) = World::new([]);
    let run = world.start(builder);
    world.ready(true).await;
    world.registry.always(Act::Fail(ErrorKind::Unavailable));
    for _ in 0..60 {
        time::sleep(Duration::from_secs(10)).await;
        assert!(world.is_ready());
    }
    assert_eq!(world.registry.count(Call::Deregister), 0);
    world.registry.always(Act::Answer);
    time::sleep(Duration::from_secs(7)).await;
    assert_eq!(world.registry.nodes("greeter").await, 1);
    run.token.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_whose_id_is_taken_is_not_ready_until_the_old_record_has_gone() {
    let (world, builder) = World::new([]);
    let old = micro_registry::Node::builder(
        "greeter".parse().unwrap(),
        "greeter-1",
        "127.0.0.1:9090".parse().unwrap(),
    );
    let old = old.boot("before the kill").build().unwrap();
    world.registry.memory().register(&old, TTL).await.unwrap();
    let run = world.start(builder);
    time::sleep(TTL / 2).await;
    assert!(!world.is_ready());
    time::sleep(TTL).await;
    assert!(world.is_ready());
    run.token.cancel();
    run.ended().await.0.unwrap();
}

#[tokio::test]
async fn two_services_of_one_process_find_and_call_each_other() {
    let registry: Arc<dyn Registry> = Arc::new(Memory::default());
    let (started, mut starts) = mpsc::unbounded_channel();
    let build = |name: &str| {
        let started = started.clone();
        Service::builder(name)
            .environment::<String, String>([])
            .registry(Arc::clone(&registry))
            .without_signals()
            .drain_delay(Duration::ZERO)
            .after_start(move |_cx| async move { started.send(()).unwrap() })
            .build()
            .unwrap()
    };
    let (orders, stock) = (build("orders"), build("stock"));
    let calls = [(orders.client(), "stock"), (stock.client(), "orders")];
    let tokens = [orders.cancellation_token(), stock.cancellation_token()];
    let runs = [tokio::spawn(orders.run()), tokio::spawn(stock.run())];
    for _ in 0..2 {
        starts.recv().await.unwrap();
    }
    for (client, callee) in calls {
        let mut health = HealthClient::new(client.channel(callee));
        let request = HealthCheckRequest {
            service: callee.to_owned(),
        };
        let status = health.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    for token in tokens {
        token.cancel();
    }
    for run in runs {
        run.await.unwrap().unwrap();
    }
    assert!(registry.list_services().await.unwrap().is_empty());
}
