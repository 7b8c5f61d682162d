//! A server for tests: the services of `proto/shop.proto` and `proto/desk.proto`, served without generated code.

mod replies;

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt};
use http::HeaderMap;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    server::{Grpc, NamedService, StreamingService},
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};
use tonic_health::{
    ServingStatus,
    server::{HealthReporter, health_reporter},
};

use self::replies::{ENDS, echo, name, reply};
use super::codec::DynamicCodec;

/// Which reflection a [`Fake`] offers.
#[derive(Clone, Copy, Debug)]
pub enum Reflection {
    /// The present version.
    V1,
    /// The one before it, alone.
    V1AlphaOnly,
    /// None at all.
    None,
}

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    seen: Arc<Seen>,
    health: HealthReporter,
    task: JoinHandle<()>,
}

/// What a [`Fake`] has been asked so far, and how it answers.
#[derive(Debug, Default)]
struct Seen {
    /// Whether calls are refused.
    is_down: AtomicBool,
    reflections: AtomicUsize,
    calls: AtomicUsize,
    open: AtomicUsize,
    connections: AtomicUsize,
    end: Notify,
    headers: Mutex<HeaderMap>,
}

impl Fake {
    /// Starts a server of all that `proto/shop.proto` describes, `shop.Shop` being served.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(reflection: Reflection) -> io::Result<Self> {
        Self::start_with(reflection, pool()).await
    }

    /// Starts a server of `proto/desk.proto`, whose methods have paths of their own and answer with what they were asked.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start_desk() -> io::Result<Self> {
        Self::start_with(Reflection::V1, desk_pool()).await
    }

    /// Starts a server that describes itself by `pool`.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start_with(reflection: Reflection, pool: DescriptorPool) -> io::Result<Self> {
        let set = pool.encode_to_vec();
        let builder =
            tonic_reflection::server::Builder::configure().register_encoded_file_descriptor_set(&set);
        let seen = Arc::<Seen>::default();
        let counting = Arc::clone(&seen);
        let count = move |request: Request<()>| {
            counting.reflections.fetch_add(1, Ordering::Relaxed);
            Ok(request)
        };
        let mut routes = Routes::builder();
        routes.add_service(Served::<SHOP> {
            pool: pool.clone(),
            seen: Arc::clone(&seen),
        });
        routes.add_service(Served::<DESK> {
            pool,
            seen: Arc::clone(&seen),
        });
        // Health of the whole is serving from the start.
        let (health, server) = health_reporter();
        routes.add_service(server);
        let sound = "the test protos are sound";
        match reflection {
            Reflection::V1 => {
                let v1 = builder.build_v1().expect(sound);
                routes.add_service(InterceptedService::new(v1, count));
            }
            Reflection::V1AlphaOnly => {
                let v1_alpha = builder.build_v1alpha().expect(sound);
                routes.add_service(InterceptedService::new(v1_alpha, count));
            }
            Reflection::None => {}
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = Arc::clone(&seen);
        let incoming = TcpListenerStream::new(listener).inspect(move |_| {
            accepting.connections.fetch_add(1, Ordering::Relaxed);
        });
        let serving = Server::builder()
            .add_routes(routes.routes())
            .serve_with_incoming(incoming);
        let task = tokio::spawn(async move { serving.await.expect("the server serves until it is stopped") });
        Ok(Self {
            address,
            seen,
            health,
            task,
        })
    }

    /// Says whether all calls are answered with UNAVAILABLE at once, reflection and health apart. Default: none is.
    pub fn refuse(&self, is_down: bool) {
        self.seen.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Says by its health that it serves, or that it does not. Default: it does.
    pub async fn serve(&self, is_serving: bool) {
        let status = match is_serving {
            true => ServingStatus::Serving,
            false => ServingStatus::NotServing,
        };
        self.health.set_service_status("", status).await;
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it was asked to describe itself, each time on a stream with any number of questions.
    #[must_use]
    pub fn reflections(&self) -> usize {
        self.seen.reflections.load(Ordering::Relaxed)
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::Relaxed)
    }

    /// How many calls its handlers have got, reflection and health apart.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.seen.calls.load(Ordering::Relaxed)
    }

    /// Lets one stream go on to its bad end, which waits for that after its first message.
    pub fn end(&self) {
        self.seen.end.notify_one();
    }

    /// All that came with the last call before its message.
    ///
    /// # Panics
    ///
    /// When a call did, while it was noted.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        self.seen
            .headers
            .lock()
            .expect("no panic while it is locked")
            .clone()
    }

    /// How many calls are open: neither answered to the end nor given up.
    #[must_use]
    pub fn open(&self) -> usize {
        self.seen.open.load(Ordering::Relaxed)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The descriptors of the test protos.
#[must_use]
pub fn pool() -> DescriptorPool {
    compile("shop.proto")
}

/// The descriptors of the test proto whose methods have paths of their own.
#[must_use]
pub fn desk_pool() -> DescriptorPool {
    compile("desk.proto")
}

fn compile(file: &str) -> DescriptorPool {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut compiler = protox::Compiler::new([folder]).expect("the folder of the test protos is there");
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(file).expect("the test protos compile");
    // Encoded by protox itself, as prost-types have no place for extensions.
    let set = compiler.encode_file_descriptor_set();
    DescriptorPool::decode(set.as_slice()).expect("what protox made is a descriptor set")
}

const SHOP: u8 = 0;
const DESK: u8 = 1;

#[derive(Clone)]
struct Served<const WHICH: u8> {
    pool: DescriptorPool,
    seen: Arc<Seen>,
}

impl NamedService for Served<SHOP> {
    const NAME: &'static str = "shop.Shop";
}

impl NamedService for Served<DESK> {
    const NAME: &'static str = "desk.Desk";
}

type Answering<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<const WHICH: u8> tower_service::Service<http::Request<Body>> for Served<WHICH>
where
    Self: NamedService,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = request
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let service = self.pool.get_service_by_name(Self::NAME);
        let method = service.and_then(|service| service.methods().find(|method| method.name() == name));
        let open = Open::of(&self.seen);
        let mut seen = self.seen.headers.lock().expect("no panic while it is locked");
        seen.clone_from(request.headers());
        drop(seen);
        if self.seen.is_down.load(Ordering::Relaxed) {
            return Box::pin(async { Ok(Status::unavailable("it is down").into_http()) });
        }
        Box::pin(async move {
            let Some(method) = method else {
                return Ok(Status::unimplemented(name).into_http());
            };
            let mut grpc = Grpc::new(DynamicCodec::new(method.input()));
            Ok(grpc
                .streaming(
                    Handler {
                        method,
                        open: Some(open),
                    },
                    request,
                )
                .await)
        })
    }
}

/// A call in flight.
struct Open(Arc<Seen>);

impl Open {
    fn of(seen: &Arc<Seen>) -> Self {
        seen.calls.fetch_add(1, Ordering::Relaxed);
        seen.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(seen))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Handler {
    method: MethodDescriptor,
    open: Option<Open>,
}

type Replies = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl StreamingService<DynamicMessage> for Handler {
    type Response = DynamicMessage;
    type ResponseStream = Replies;
    type Future = Answering<Result<Response<Replies>, Status>>;

    fn call(&mut self, request: Request<Streaming<DynamicMessage>>) -> Self::Future {
        let (method, open) = (self.method.clone(), self.open.take());
        let metadata = request.metadata().clone();
        let mut orders = request.into_inner();
        Box::pin(async move {
            let stream: Replies = match method.name() {
                "Total" => {
                    let names: Vec<_> = orders
                        .map(|order| order.map(|order| name(&order)))
                        .collect()
                        .await;
                    let names = names.into_iter().collect::<Result<Vec<_>, _>>()?;
                    let count = i32::try_from(names.len()).unwrap_or(i32::MAX);
                    let reply = reply(&method, &names.join(" "), &metadata, count);
                    Box::pin(tokio_stream::once(reply))
                }
                "Chat" => Box::pin(orders.map(move |order| reply(&method, &name(&order?), &metadata, 1))),
                _ if method.parent_service().full_name() == Served::<DESK>::NAME => {
                    let request = orders.message().await?;
                    let request = request.ok_or_else(|| Status::invalid_argument("no request"))?;
                    Box::pin(tokio_stream::once(echo(&method, &request)))
                }
                times => {
                    let count = if times == "Track" { 3 } else { 1 };
                    let order = orders.message().await?;
                    let name = name(&order.ok_or_else(|| Status::invalid_argument("no order"))?);
                    if name == "sloth" {
                        pending::<()>().await;
                    }
                    let endless = name == "endless";
                    let seen = open.as_ref().map(|open| Arc::clone(&open.0));
                    let replies = tokio_stream::iter(1..=count).then(move |count| {
                        let (method, name, metadata) = (method.clone(), name.clone(), metadata.clone());
                        let seen = seen
                            .clone()
                            .filter(|_| count > 1 && ENDS.contains(&name.as_str()));
                        async move {
                            if let Some(seen) = seen {
                                seen.end.notified().await;
                            }
                            reply(&method, &name, &metadata, count)
                        }
                    });
                    if endless {
                        Box::pin(replies.chain(tokio_stream::pending()))
                    } else {
                        Box::pin(replies)
                    }
                }
            };
            let stream: Replies = Box::pin(stream.inspect(move |_| {
                // The call is open for as long as its answer is.
                let _ = &open;
            }));
            Ok(Response::new(stream))
        })
    }
}
