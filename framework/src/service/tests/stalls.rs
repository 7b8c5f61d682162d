//! Handlers that block every worker, and a machine that has no time: the registration stays, and the health tells.

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use http::{Request, Response};
use micro_registry::{Memory, Registry};
use tokio::runtime::{Builder, Runtime};
use tonic::{body::Body, server::NamedService};
use tower_service::Service as _;

use crate::{Client, Service, server::Health};

const WORKERS: usize = 2;
const TTL: Duration = Duration::from_secs(3);

/// For whatever a loaded machine may need time for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A gRPC service whose handlers block their threads until they are told.
#[derive(Clone)]
struct Blocking {
    began: mpsc::Sender<()>,
    released: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl NamedService for Blocking {
    const NAME: &'static str = "test.Blocking";
}

impl tower_service::Service<Request<Body>> for Blocking {
    type Response = Response<Body>;
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Self::Error>>;

    fn poll_ready(&mut self, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Self::Error>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        self.began.send(()).unwrap();
        // One waits for the word, the others for the one: either way their threads do nothing else.
        let word = self.released.lock().unwrap().recv();
        word.unwrap();
        std::future::ready(Ok(tonic::Status::ok("").into_http()))
    }
}

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_all()
        .build()
        .unwrap()
}

/// Polls, on the thread of the test, which belongs to no runtime of the service.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn is_registered(registry: &Memory) -> bool {
    let snapshot = block_on(registry.get_service("greeter")).unwrap();
    snapshot.nodes().len() == 1
}

/// Runs what never waits.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A service that runs on a runtime of its own, with a control runtime of its own.
struct World {
    registry: Arc<Memory>,
    health: Health,
    running: tokio::task::JoinHandle<crate::Result<()>>,
    token: tokio_util::sync::CancellationToken,
    handlers: Runtime,
}

impl World {
    fn start(blocking: Blocking) -> Self {
        let registry = Arc::new(Memory::default());
        let handlers = runtime(WORKERS);
        let _entered = handlers.enter();
        let service = Service::builder("greeter")
            .environment::<String, String>([])
            .registry(Arc::clone(&registry) as Arc<dyn Registry>)
            .ttl(TTL)
            .add_service(blocking)
            .build()
            .unwrap();
        let health = service.plan.parts.server.health();
        let token = service.cancellation_token();
        let running = handlers.spawn(service.run());
        drop(_entered);
        eventually("the service is ready", || health.is_ready());
        Self {
            registry,
            health,
            running,
            token,
            handlers,
        }
    }

    fn stop(self) {
        self.token.cancel();
        let ended = self.handlers.block_on(self.running);
        ended.unwrap().unwrap();
    }
}

#[test]
fn handlers_that_block_every_worker_lose_no_registration_and_are_seen() {
    let (began, begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let blocking = Blocking {
        began,
        released: Arc::new(Mutex::new(released)),
    };
    let world = World::start(blocking);
    let callers = runtime(1);
    let client = Client::builder(Arc::clone(&world.registry) as Arc<dyn Registry>)
        .request_timeout(PATIENCE)
        .build()
        .unwrap();
    for _ in 0..WORKERS {
        let mut channel = client.channel("greeter");
        callers.spawn(async move {
            let request = Request::post("/test.Blocking/Call").body(Body::empty()).unwrap();
            // It is not the answer that matters.
            let _ = channel.call(request).await;
        });
        begun.recv_timeout(PATIENCE).unwrap();
    }
    let blocked = Instant::now();
    eventually("the stall is seen", || !world.health.is_ready());
    // Longer than any registration lasts without being renewed.
    eventually("several lifetimes of the registration have passed", || {
        assert!(
            is_registered(&world.registry),
            "lost after {:?}",
            blocked.elapsed()
        );
        blocked.elapsed() > 3 * TTL
    });
    assert!(!world.health.is_ready());
    for _ in 0..WORKERS {
        release.send(()).unwrap();
    }
    eventually("the node is ready again", || world.health.is_ready());
    assert!(is_registered(&world.registry));
    world.stop();
}

#[test]
fn a_machine_that_has_no_time_loses_no_registration() {
    let (began, _begun) = mpsc::channel();
    let (_release, released) = mpsc::channel();
    let blocking = Blocking {
        began,
        released: Arc::new(Mutex::new(released)),
    };
    let world = World::start(blocking);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Many times what the machine has, so that each thread of the service gets a small part of it.
        for _ in 0..32 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let started = Instant::now();
        while started.elapsed() < 2 * TTL {
            let registered = is_registered(&world.registry);
            stop.store(!registered, Ordering::Relaxed);
            assert!(registered, "lost after {:?}", started.elapsed());
            thread::park_timeout(Duration::from_millis(10));
        }
        stop.store(true, Ordering::Relaxed);
    });
    world.stop();
}
