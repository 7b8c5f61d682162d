//! What runs on the hosts: a service on each server, and on each client a load that is written down.

use std::{sync::Arc, time::Duration};

use micro::{CallOptions, Channel, Client, Service};
use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{self, Instant},
};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::{
    directory::Backend,
    network::{Listening, Simulated},
    service::{self, Greeter, IDEMPOTENT, NAME, ONCE},
    world::{World, now},
};

/// How long the record of a server that crashed stays.
const TTL: Duration = Duration::from_secs(5);
/// After how much silence a client asks whether a node is there, and how long the answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(1));
/// How far apart the calls of one client are at most.
const PAUSE_MAX: Duration = Duration::from_millis(60);
/// How long the first calls may wait for the servers to be registered.
const START_MAX: Duration = Duration::from_secs(10);

/// How the clients call.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) timeout: Duration,
    pub(crate) hedge_delay: Option<Duration>,
    /// When the last call is made.
    pub(crate) until: Duration,
}

/// Runs a service until it is told to stop.
pub(crate) async fn serve(
    world: Arc<World>,
    server: usize,
    count: u64,
    drain_delay: Duration,
) -> turmoil::Result {
    let process = world.start(server, count);
    let greeter = Greeter {
        world: Arc::clone(&world),
        server,
        node: Arc::clone(&process.node),
    };
    let service = Service::builder(NAME)
        .id(&*process.node)
        .environment([("MICRO_LOG", "off"); 0])
        .without_signals()
        .cancellation_token(process.token)
        .registry(Arc::new(Backend(Arc::clone(&world.directory))))
        .control(Handle::current())
        .wall_clock(now)
        .listener(Listening::on(&format!("server-{server}")).await?)
        .ttl(TTL)
        .drain_delay(drain_delay)
        .drain_timeout(Duration::from_secs(5))
        .add_service(greeter)
        .descriptors(service::descriptors())
        .build()?;
    let ended = service.run().await;
    world.note(now(), &format!("server {server} has stopped"));
    Ok(ended?)
}

/// Calls until the load is over, and waits for the last call.
pub(crate) async fn call(world: Arc<World>, client: usize, servers: usize, load: Load) -> turmoil::Result {
    let registry = Arc::new(Backend(Arc::clone(&world.directory)));
    let mut builder = Client::builder(registry)
        .connector(Simulated)
        .control(Handle::current())
        .keepalive(KEEPALIVE.0, KEEPALIVE.1);
    if let Some(delay) = load.hedge_delay {
        builder = builder.hedge_delay(delay);
    }
    let channel = builder.build()?.channel(NAME);
    let started = Instant::now();
    while world.directory.len() < servers {
        if started.elapsed() > START_MAX {
            return Err("the servers were not registered in time".into());
        }
        time::sleep(Duration::from_millis(10)).await;
    }
    let mut calls = JoinSet::new();
    while now() < load.until {
        let (world, channel) = (Arc::clone(&world), channel.clone());
        let (idempotent, timeout) = (fastrand::bool(), load.timeout);
        calls.spawn(async move {
            let id = world.begun(client, idempotent, timeout);
            let ended = one(channel, id, idempotent, timeout).await;
            match ended {
                Ok(node) => world.ended(id, tonic::Code::Ok, node),
                Err(status) => world.ended(id, status.code(), status.message().to_owned()),
            }
        });
        time::sleep(PAUSE_MAX.mul_f64(fastrand::f64())).await;
        while calls.try_join_next().is_some() {}
    }
    // Each has a deadline.
    while calls.join_next().await.is_some() {}
    nothing_in_flight(&world, client, &channel).await?;
    Ok(())
}

async fn one(channel: Channel, id: u64, idempotent: bool, timeout: Duration) -> Result<String, Status> {
    let mut stub = Grpc::new(channel);
    stub.ready().await?;
    let path = PathAndQuery::from_static(if idempotent { IDEMPOTENT } else { ONCE });
    let mut request = Request::new(id);
    request
        .extensions_mut()
        .insert(CallOptions::new().timeout(timeout));
    let codec = ProstCodec::<u64, String>::default();
    let response = stub.unary(request, path, codec).await?;
    Ok(response.into_inner())
}

/// Every call has ended, so every place was given back.
async fn nothing_in_flight(world: &World, client: usize, channel: &Channel) -> Result<(), Status> {
    for endpoint in channel.endpoints().await? {
        if endpoint.in_flight > 0 {
            let (node, calls) = (endpoint.node.id(), endpoint.in_flight);
            world.complain(format!(
                "client {client} counts {calls} calls in flight at {node}"
            ));
        }
    }
    Ok(())
}
