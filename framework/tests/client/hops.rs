//! A call through two services whose handler never returns, over connections in memory, so that time can be stopped: at the
//! deadline every one of them sees the same end.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use micro::{
    CallOptions, Channel, Client, Connect, Connecting, Io, Listener, Service, ServiceBuilder,
    registry::{Address, Memory, Registry},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::Handle,
    sync::{mpsc, oneshot},
    time,
};
use tonic::{Code, body::Body, server::NamedService};
use tower_service::Service as TowerService;

use crate::support::hello;

const BACK: u16 = 9001;
const FRONT: u16 = 9002;

/// Connections that never leave the process, by the port that is called.
#[derive(Clone, Debug, Default)]
struct Network(Arc<Mutex<BTreeMap<u16, mpsc::UnboundedSender<DuplexStream>>>>);

impl Network {
    fn listen(&self, port: u16) -> InMemory {
        let (dial, dialled) = mpsc::unbounded_channel();
        self.0.lock().unwrap().insert(port, dial);
        InMemory { port, dialled }
    }

    fn dial(&self, port: u16) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        self.0.lock().unwrap()[&port].send(far).unwrap();
        near
    }

    /// What the service there tells of how many calls ended how.
    async fn calls(&self, port: u16) -> Vec<String> {
        let mut io = self.dial(port);
        let request = b"GET /metrics HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
        io.write_all(request).await.unwrap();
        let mut page = String::new();
        io.read_to_string(&mut page).await.unwrap();
        let is_told = |line: &&str| line.contains("_call_duration_seconds_count{");
        // The page has its metrics in any order.
        let mut told: Vec<_> = page.lines().filter(is_told).map(str::to_owned).collect();
        told.sort_unstable();
        told
    }
}

impl Connect for Network {
    fn connect(&self, address: &Address) -> Connecting {
        let io = self.dial(address.port());
        Box::pin(async move { Ok(Box::new(io) as Box<dyn Io>) })
    }
}

struct InMemory {
    port: u16,
    dialled: mpsc::UnboundedReceiver<DuplexStream>,
}

#[async_trait::async_trait]
impl Listener for InMemory {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        match self.dialled.recv().await {
            Some(io) => Ok((io, self.local_address()?)),
            None => pending().await,
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }
}

/// Passes each call on, or never returns.
#[derive(Clone)]
struct Hop(Option<Channel>);

impl NamedService for Hop {
    const NAME: &'static str = "greeter.Say";
}

impl TowerService<Request<Body>> for Hop {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let next = self.0.clone();
        Box::pin(async move {
            match next {
                Some(next) => Ok(hello(&next).await.unwrap_err().into_http()),
                None => pending().await,
            }
        })
    }
}

/// Runs the service until the test's runtime ends.
async fn run(service: ServiceBuilder, network: &Network, port: u16, registry: &Arc<Memory>) {
    let (tell, started) = oneshot::channel();
    let connector = network.clone();
    let service = service
        .environment::<String, String>([])
        .without_signals()
        .registry(Arc::clone(registry) as Arc<dyn Registry>)
        .control(Handle::current())
        .listener(network.listen(port))
        .client(|client| client.connector(connector))
        .after_start(|_cx| async move { tell.send(()).map_err(|()| "nobody waits") })
        .build()
        .unwrap();
    tokio::spawn(service.run());
    started.await.unwrap();
}

/// A service that never answers, one that asks it, and a client.
async fn two_hops() -> (Network, Client) {
    let (network, registry) = (Network::default(), Arc::default());
    let back = Service::builder("back").add_service(Hop(None));
    run(back, &network, BACK, &registry).await;
    let front = Service::builder("greeter").add_service_with(|cx| Hop(Some(cx.client().channel("back"))));
    run(front, &network, FRONT, &registry).await;
    let client = Client::builder(registry)
        .control(Handle::current())
        .connector(network.clone())
        .build()
        .unwrap();
    (network, client)
}

/// Waits until that is what a service tells, and nothing else.
async fn told(network: &Network, port: u16, of: &[&str], code: &str, count: usize) {
    let mut last = Vec::new();
    for _ in 0..100 {
        last = network.calls(port).await;
        let is_right = |line: &String, of: &&str| {
            line.starts_with(of)
                && line.contains(&format!("=\"{code}\""))
                && line.ends_with(&format!("}} {count}"))
        };
        if last.len() == of.len() && last.iter().zip(of).all(|(line, of)| is_right(line, of)) {
            return;
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{port} tells {last:#?}, and not that {count} ended with {code}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_is_one_at_every_service_whoever_sees_it_first() {
    const CALLS: usize = 200;
    let (network, client) = two_hops().await;
    for call in 0..CALLS {
        // What is left of a millisecond is rounded up on its way, so that a caller is now and then the first.
        let timeout = Duration::from_micros(100_000 + 137 * call as u64);
        let channel = client
            .channel("greeter")
            .options(CallOptions::new().timeout(timeout));
        time::advance(Duration::from_micros(313)).await;
        let status = hello(&channel).await.unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    }
    let server = "rpc_server_call_duration";
    told(&network, BACK, &[server], "DEADLINE_EXCEEDED", CALLS).await;
    let both = ["rpc_client_call_duration", server];
    told(&network, FRONT, &both, "DEADLINE_EXCEEDED", CALLS).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_a_little_ahead_of_the_others_at_its_deadline_makes_no_call_a_cancelled_one() {
    const CALLS: usize = 20;
    const TIMEOUT: Duration = Duration::from_millis(200);
    let (network, client) = two_hops().await;
    let channel = client
        .channel("greeter")
        .options(CallOptions::new().timeout(TIMEOUT));
    for _ in 0..CALLS {
        // As a caller's timer does that goes off before the callee's.
        let ahead = TIMEOUT - Duration::from_millis(5);
        assert!(time::timeout(ahead, hello(&channel)).await.is_err());
    }
    let server = "rpc_server_call_duration";
    told(&network, BACK, &[server], "DEADLINE_EXCEEDED", CALLS).await;
    let both = ["rpc_client_call_duration", server];
    told(&network, FRONT, &both, "DEADLINE_EXCEEDED", CALLS).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_long_before_its_deadline_is_cancelled_at_every_service() {
    let (network, client) = two_hops().await;
    let channel = client.channel("greeter");
    let call = time::timeout(Duration::from_millis(300), hello(&channel));
    assert!(call.await.is_err());
    told(&network, BACK, &["rpc_server_call_duration"], "CANCELLED", 1).await;
    let both = ["rpc_client_call_duration", "rpc_server_call_duration"];
    told(&network, FRONT, &both, "CANCELLED", 1).await;
}
