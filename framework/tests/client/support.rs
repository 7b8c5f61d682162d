//! Nodes that do as they are told, over real sockets, and the calls made to them.

mod answers;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use micro::{
    Channel, Client, Peer,
    registry::{Idempotency, Memory, Method, Node, Registry},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tonic::{Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use self::answers::{answer, begin, end, fail, finish, first};

pub(crate) const TTL: Duration = Duration::from_secs(30);
pub(crate) const HELLO: &str = "/greeter.Say/Hello";
const INVALID_ARGUMENT: &str = "3";
const UNAVAILABLE: &str = "14";
const PUSHBACK: &str = "grpc-retry-pushback-ms";
const DETAILS: &str = "grpc-status-details-bin";

/// What a node does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Behaviour {
    /// Answers with its id.
    Answer,
    /// Never answers.
    Hang,
    /// Answers `INVALID_ARGUMENT`.
    Fail,
    /// Resets the stream with `REFUSED_STREAM` before looking at it.
    RefuseStream,
    /// Resets the stream with `INTERNAL_ERROR` after reading it.
    Reset,
    /// Says that it is another service.
    WrongService,
    /// Closes the connection after reading the request.
    Close,
    /// Answers `UNAVAILABLE`.
    Unavailable,
    /// Answers `UNAVAILABLE`, and this of when to send the call again.
    PushedBack(&'static str),
    /// Begins an answer, and ends it with `UNAVAILABLE`, and perhaps this of when to send the call again.
    EndsUnavailable(Option<&'static str>),
    /// Answers `INVALID_ARGUMENT` with details that are no base64, which come in trailers or at once.
    Garbled { in_trailers: bool },
    /// Begins an answer, and resets the stream before its message.
    BreakBeforeMessage,
    /// Sends a message, and resets the stream before its end.
    BreakAfterMessage,
    /// Sends a message at once, and ends when the request has ended and it is told to do something else.
    Follow,
    /// Answers, and ends each connection gracefully after some requests.
    Restless,
}

/// A gRPC server on a real socket that does as it is told.
pub(crate) struct FakeNode {
    pub(crate) node: Node,
    behaviour: watch::Sender<Behaviour>,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    executions: AtomicUsize,
    refusals: AtomicUsize,
    connections: AtomicUsize,
    headers: Mutex<Vec<HeaderMap>>,
    streams_max: AtomicUsize,
}

impl FakeNode {
    pub(crate) async fn start(id: &str, behaviour: Behaviour) -> Self {
        Self::with_streams(id, behaviour, 200).await
    }

    /// A node that allows this many streams a connection.
    pub(crate) async fn with_streams(id: &str, behaviour: Behaviour, streams_max: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = node(id, &listener.local_addr().unwrap().to_string());
        let (behaviour, told) = watch::channel(behaviour);
        let shared = Arc::new(Shared::default());
        shared.streams_max.store(streams_max, Ordering::Relaxed);
        let accepting = tokio::spawn(accept(listener, id.to_owned(), told, Arc::clone(&shared)));
        Self {
            node,
            behaviour,
            shared,
            accepting,
        }
    }

    pub(crate) fn tell(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// How many requests reached a handler.
    pub(crate) fn executions(&self) -> usize {
        self.shared.executions.load(Ordering::SeqCst)
    }

    /// How many streams were refused.
    pub(crate) fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::SeqCst)
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The headers of the last request.
    pub(crate) fn last_headers(&self) -> HeaderMap {
        self.shared.headers.lock().unwrap().last().cloned().unwrap()
    }

    /// How many requests came first for their calls, and how many after others.
    pub(crate) fn attempts(&self) -> (usize, usize) {
        let headers = self.shared.headers.lock().unwrap();
        let is_first = |headers: &&HeaderMap| !headers.contains_key("grpc-previous-rpc-attempts");
        let first = headers.iter().filter(is_first).count();
        (first, headers.len() - first)
    }

    /// Listens again at the address of one that was killed.
    pub(crate) async fn revive(&mut self) {
        let listener = TcpListener::bind(self.node.address().to_string()).await.unwrap();
        let (id, told) = (self.node.id().to_owned(), self.behaviour.subscribe());
        self.accepting = tokio::spawn(accept(listener, id, told, Arc::clone(&self.shared)));
    }

    /// Ends the listener and every connection at once, as a kill does.
    pub(crate) async fn kill(&mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, id: String, told: watch::Receiver<Behaviour>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.unwrap();
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(serve(stream, id.clone(), told.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, id: String, told: watch::Receiver<Behaviour>, shared: Arc<Shared>) {
    let streams_max = u32::try_from(shared.streams_max.load(Ordering::Relaxed)).unwrap();
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder
        .max_concurrent_streams(streams_max)
        .handshake::<_, Bytes>(stream)
        .await
    else {
        return;
    };
    let mut streams = JoinSet::new();
    let mut served = 0;
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let behaviour = *told.borrow();
        let (head, mut body) = request.into_parts();
        if behaviour == Behaviour::RefuseStream {
            shared.refusals.fetch_add(1, Ordering::SeqCst);
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            continue;
        }
        if behaviour == Behaviour::WrongService {
            let refused = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "9")
                .header("micro-refused", "wrong-service");
            respond.send_response(refused.body(()).unwrap(), true).unwrap();
            continue;
        }
        shared.headers.lock().unwrap().push(head.headers);
        served += 1;
        if behaviour == Behaviour::Restless && served == 20 {
            connection.graceful_shutdown();
        }
        let (shared, id, mut told) = (Arc::clone(&shared), id.clone(), told.clone());
        let handler = async move {
            let stream = (behaviour == Behaviour::Follow)
                .then(|| first(&mut respond, &id))
                .flatten();
            while let Some(Ok(data)) = body.data().await {
                let _ = body.flow_control().release_capacity(data.len());
            }
            shared.executions.fetch_add(1, Ordering::SeqCst);
            match behaviour {
                Behaviour::Follow => {
                    // It is told no more when it ends.
                    let _ = told.wait_for(|told| *told != Behaviour::Follow).await;
                    stream.into_iter().for_each(finish);
                }
                Behaviour::Hang => std::future::pending().await,
                Behaviour::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                Behaviour::Fail => fail(&mut respond, INVALID_ARGUMENT, None),
                Behaviour::Close => return true,
                Behaviour::Unavailable => fail(&mut respond, UNAVAILABLE, None),
                Behaviour::PushedBack(when) => fail(&mut respond, UNAVAILABLE, Some((PUSHBACK, when))),
                Behaviour::EndsUnavailable(when) => {
                    end(&mut respond, UNAVAILABLE, when.map(|when| (PUSHBACK, when)));
                }
                Behaviour::Garbled { in_trailers } => {
                    let fail = if in_trailers { end } else { fail };
                    fail(&mut respond, INVALID_ARGUMENT, Some((DETAILS, "a\\b")));
                }
                Behaviour::BreakBeforeMessage => begin(&mut respond, None).await,
                Behaviour::BreakAfterMessage => begin(&mut respond, Some(&id)).await,
                _ => answer(&mut respond, &id),
            }
            false
        };
        if behaviour == Behaviour::Close {
            // The body arrives while the connection is polled.
            let close = tokio::spawn(handler);
            tokio::select! {
                _ = close => return,
                _ = connection.accept() => {}
            }
        } else {
            streams.spawn(handler);
        }
    }
}

/// A node of `greeter` as a registry has it.
pub(crate) fn node(id: &str, address: &str) -> Node {
    Node::builder("greeter".parse().unwrap(), id, address.parse().unwrap())
        .boot("boot")
        .build()
        .unwrap()
}

/// The same node, saying that `Say.Hello` is unary, and whether it is idempotent.
pub(crate) fn with_methods(node: &Node, idempotency: Idempotency) -> Node {
    let mut hello = Method::new("greeter.Say", "Hello");
    hello.idempotency = idempotency;
    Node::builder(node.service().clone(), node.id(), node.address().clone())
        .boot(node.boot())
        .methods(vec![hello])
        .build()
        .unwrap()
}

/// A memory registry with these nodes of `greeter`.
pub(crate) async fn registry_of<'a>(nodes: impl IntoIterator<Item = &'a FakeNode>) -> Arc<Memory> {
    let registry = Arc::new(Memory::default());
    for fake in nodes {
        registry.register(&fake.node, TTL).await.unwrap();
    }
    registry
}

/// A client of `greeter` by default settings, and its channel.
pub(crate) fn client(registry: Arc<dyn Registry>) -> (Client, Channel) {
    let client = Client::builder(registry).build().unwrap();
    let channel = client.channel("greeter");
    (client, channel)
}

/// Calls `Say.Hello` and gives the id of the node that answered.
pub(crate) async fn hello(channel: &Channel) -> Result<String, Status> {
    hello_with(channel, Request::new("Ada".to_owned())).await
}

pub(crate) async fn hello_with(channel: &Channel, request: Request<String>) -> Result<String, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = PathAndQuery::from_static(HELLO);
    let codec = ProstCodec::<String, String>::default();
    let response = grpc.unary(request, path, codec).await?;
    let peer = response
        .extensions()
        .get::<Peer>()
        .expect("an answer has a peer")
        .clone();
    let answered = response.into_inner();
    assert_eq!(answered, peer.node_id());
    Ok(answered)
}

/// Makes `calls` calls, `in_flight` at a time, and counts the answers by node and the failures.
pub(crate) async fn load(
    channel: &Channel,
    calls: usize,
    in_flight: usize,
) -> (BTreeMap<String, usize>, Vec<Status>) {
    let (mut answers, mut failures) = (BTreeMap::new(), Vec::new());
    let mut running = JoinSet::new();
    let mut started = 0;
    loop {
        while started < calls && running.len() < in_flight {
            let channel = channel.clone();
            running.spawn(async move { hello(&channel).await });
            started += 1;
        }
        match running.join_next().await {
            None => return (answers, failures),
            Some(result) => match result.unwrap() {
                Ok(id) => *answers.entry(id).or_default() += 1,
                Err(status) => failures.push(status),
            },
        }
    }
}

/// Calls until two nodes have answered.
pub(crate) async fn both_are_connected(channel: &Channel) {
    eventually("both are connected", async || {
        load(channel, 20, 4).await.0.len() == 2
    })
    .await;
}

/// Polls until `holds`, or panics after a long while.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = std::time::Instant::now();
    while !holds().await {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "never happened: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
