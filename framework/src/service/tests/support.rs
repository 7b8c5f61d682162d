//! A service whose every step is written down, over connections in memory, so that time can be stopped.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::{Request, Response};
use micro_registry::{Address, Registry};
use tokio::{
    io::DuplexStream,
    runtime::Handle,
    sync::{mpsc, watch},
    time::{self, Instant},
};
use tonic::{body::Body, server::NamedService};
use tower_service::Service as TowerService;

pub(super) use crate::service::testing::{Act, Call, Scripted};
use crate::{
    Client, Connect, Connecting, Io, Listener, Result, Service, ServiceBuilder, server::Health,
    service::testing::Log,
};

/// What lies between the signal and the end, beside what was configured.
pub(super) const MARGIN: Duration = Duration::from_secs(1);

/// A service to be, and all that surrounds it.
pub(super) struct World {
    pub(super) registry: Arc<Scripted>,
    pub(super) log: Log,
    signals: mpsc::UnboundedSender<&'static str>,
    network: Network,
    health: Arc<OnceLock<Health>>,
    /// The handlers that run.
    pub(super) handlers: watch::Sender<usize>,
}

impl World {
    /// The service `greeter`, whose registry does what `script` says, and what is around it.
    pub(super) fn new(script: impl IntoIterator<Item = Act>) -> (Self, ServiceBuilder) {
        let (signals, received) = mpsc::unbounded_channel();
        let registry = Scripted::new(script);
        let health = Arc::new(OnceLock::<Health>::new());
        let told = Arc::clone(&health);
        let log = Log::new(move || told.get().is_some_and(Health::is_ready));
        registry.log_to(&log);
        let network = Network::default();
        let world = Self {
            registry,
            log,
            signals,
            network,
            health,
            handlers: watch::Sender::new(0),
        };
        let received = stream::unfold(received, |mut received| async {
            received.recv().await.map(|signal| (signal, received))
        });
        let builder = Service::builder("greeter")
            .id("greeter-1")
            .environment::<String, String>([])
            .registry(Arc::clone(&world.registry) as Arc<dyn Registry>)
            .control(Handle::current())
            .signals(received.boxed())
            .listener(world.network.listen(world.log.clone()))
            .add_service(Endless(world.handlers.clone()));
        let builder = builder
            .before_start(world.writes("before_start"))
            .after_start(world.writes("after_start"))
            .before_stop(world.writes("before_stop"))
            .after_stop(world.writes("after_stop"));
        (world, builder)
    }

    /// A hook that writes its name down.
    pub(super) fn writes(
        &self,
        name: &'static str,
    ) -> impl FnOnce(crate::ServiceContext) -> BoxFuture<'static, ()> + Send + use<> {
        let log = self.log.clone();
        move |_cx| {
            log.write(name);
            Box::pin(async {})
        }
    }

    /// Runs what `builder` has, in a task of its own.
    pub(super) fn start(&self, builder: ServiceBuilder) -> Run {
        let service = builder.build().unwrap();
        self.health.set(service.plan.parts.server.health()).unwrap();
        Run {
            token: service.cancellation_token(),
            task: tokio::spawn(service.run()),
        }
    }

    /// Adds the service whose handlers never return.
    pub(super) fn with_endless(&self, builder: ServiceBuilder) -> ServiceBuilder {
        builder.add_service(Endless(self.handlers.clone()))
    }

    pub(super) fn signal(&self, name: &'static str) {
        self.signals.send(name).unwrap();
    }

    pub(super) fn is_ready(&self) -> bool {
        self.health.get().unwrap().is_ready()
    }

    /// Waits until the service is ready, or is no more.
    pub(super) async fn ready(&self, ready: bool) {
        let mut ticks = time::interval(Duration::from_millis(10));
        let waiting = async {
            while self.is_ready() != ready {
                ticks.tick().await;
            }
        };
        time::timeout(Duration::from_secs(3600), waiting).await.unwrap();
    }

    /// A client of another process.
    pub(super) fn client(&self) -> Client {
        Client::builder(Arc::clone(&self.registry) as Arc<dyn Registry>)
            .control(Handle::current())
            .connector(self.network.clone())
            // Longer than any stop may take.
            .request_timeout(Duration::from_secs(3600))
            .build()
            .unwrap()
    }

    /// Waits until as many handlers run.
    pub(super) async fn handlers(&self, count: usize) {
        let mut handlers = self.handlers.subscribe();
        handlers.wait_for(|running| *running == count).await.unwrap();
    }
}

/// A service that runs.
pub(super) struct Run {
    pub(super) token: tokio_util::sync::CancellationToken,
    pub(super) task: tokio::task::JoinHandle<Result<()>>,
}

impl Run {
    /// What `run` answers, and when.
    pub(super) async fn ended(self) -> (Result<()>, Duration) {
        let since = Instant::now();
        let result = self.task.await.unwrap();
        (result, since.elapsed())
    }
}

/// Connections that never leave the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Network {
    dialled: Arc<Mutex<Option<mpsc::UnboundedSender<DuplexStream>>>>,
}

impl Network {
    fn listen(&self, log: Log) -> InMemory {
        let (dial, dialled) = mpsc::unbounded_channel();
        *self.dialled.lock().unwrap() = Some(dial);
        InMemory {
            dialled,
            log,
            listening: false,
        }
    }
}

impl Connect for Network {
    fn connect(&self, _address: &Address) -> Connecting {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let dialled = self.dialled.lock().unwrap().clone();
        Box::pin(async move {
            let sent = dialled.is_some_and(|dialled| dialled.send(far).is_ok());
            if !sent {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            Ok(Box::new(near) as Box<dyn Io>)
        })
    }
}

struct InMemory {
    dialled: mpsc::UnboundedReceiver<DuplexStream>,
    log: Log,
    listening: bool,
}

#[async_trait::async_trait]
impl Listener for InMemory {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        if !self.listening {
            self.listening = true;
            self.log.write("listen");
        }
        match self.dialled.recv().await {
            Some(io) => Ok((io, self.local_address()?)),
            None => std::future::pending().await,
        }
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 9090)))
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        if self.listening {
            self.log.write("close");
        }
    }
}

/// A gRPC service whose handlers never return.
#[derive(Clone)]
pub(super) struct Endless(pub(super) watch::Sender<usize>);

/// The path of one of its methods.
pub(super) const ENDLESS: &str = "/test.Endless/Wait";

impl NamedService for Endless {
    const NAME: &'static str = "test.Endless";
}

impl TowerService<Request<Body>> for Endless {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = BoxFuture<'static, std::result::Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<std::result::Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        self.0.send_modify(|running| *running += 1);
        let running = Counted(self.0.clone());
        Box::pin(async move {
            let _running = running;
            std::future::pending().await
        })
    }
}

/// Counts a handler down when it ends, however it does.
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

/// A listener that panics.
pub(super) struct Broken;

#[async_trait::async_trait]
impl Listener for Broken {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
        panic!("as the test says")
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 1)))
    }
}
