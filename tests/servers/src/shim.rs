//! A TCP shim: what passes through it can be late, lost on the way, changed, cut, or not let in.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};

use crate::{Error, Result};

/// What is read at a time.
const CHUNK: usize = 16 * 1024;
/// How many chunks of one direction may be on their way; a sender with more waits, as it does on a real network.
const CHUNKS_MAX: usize = 256;

/// Stands before a server and passes on what comes, with faults. It ends when it is dropped, and cuts its connections.
///
/// ```no_run
/// # async fn example() -> Result<(), micro_test_servers::Error> {
/// use micro_test_servers::Shim;
///
/// let shim = Shim::start("127.0.0.1:8500").await?;
/// shim.stall(); // Whoever is connected to shim.address() hears nothing any more, and does not know it.
/// shim.heal();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Shim {
    address: SocketAddr,
    faults: watch::Sender<Faults>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// The faults of now.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    /// How much later answers arrive.
    delay: Duration,
    /// Connections with a lower number hear nothing.
    stalled: u64,
    /// Connections with a lower number are cut.
    cut: u64,
    /// New connections are closed at once.
    refuses: bool,
    /// One byte of each chunk of the answers is another one.
    corrupts: bool,
    /// How many connections there may be; more are closed at once. None when zero.
    connections_max: usize,
}

#[derive(Debug, Default)]
struct Shared {
    /// How many connections there were: the number of the next.
    accepted: AtomicU64,
    open: AtomicUsize,
}

impl Shim {
    /// Listens on loopback, and passes on to `target`: host and port.
    ///
    /// # Errors
    ///
    /// When there is no port to listen on.
    pub async fn start(target: impl Into<String>) -> Result<Self> {
        Self::listen(SocketAddr::from(([127, 0, 0, 1], 0)), target).await
    }

    /// Like [`start`](Self::start), on this address of this machine; port 0 is any free one.
    ///
    /// # Errors
    ///
    /// When it cannot be listened on.
    pub async fn listen(address: SocketAddr, target: impl Into<String>) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .map_err(Error::during("listen for a shim"))?;
        let address = listener
            .local_addr()
            .map_err(Error::during("listen for a shim"))?;
        let (faults, shared) = (watch::Sender::new(Faults::default()), Arc::new(Shared::default()));
        let task = tokio::spawn(accept(
            listener,
            target.into(),
            faults.subscribe(),
            Arc::clone(&shared),
        ));
        Ok(Self {
            address,
            faults,
            shared,
            task,
        })
    }

    /// Where it listens: host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many connections pass through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// Lets answers arrive later by `delay`; nothing is reordered, and much can be on its way.
    pub fn delay(&self, delay: Duration) {
        self.faults.send_modify(|faults| faults.delay = delay);
    }

    /// Passes on no more of the connections that there are, in both directions, without closing them. New ones pass.
    pub fn stall(&self) {
        let next = self.shared.accepted.load(Ordering::SeqCst);
        self.faults.send_modify(|faults| faults.stalled = next);
    }

    /// Passes on nothing, neither of the connections that there are nor of new ones, which are accepted all the same.
    pub fn stall_all(&self) {
        self.faults.send_modify(|faults| faults.stalled = u64::MAX);
    }

    /// Closes the connections that there are.
    pub fn cut(&self) {
        let next = self.shared.accepted.load(Ordering::SeqCst);
        self.faults.send_modify(|faults| faults.cut = next);
    }

    /// Closes new connections at once.
    pub fn refuse(&self) {
        self.faults.send_modify(|faults| faults.refuses = true);
    }

    /// Changes a byte of each chunk of the answers.
    pub fn corrupt(&self) {
        self.faults.send_modify(|faults| faults.corrupts = true);
    }

    /// Closes new connections at once while there are this many.
    pub fn connections_max(&self, connections: usize) {
        self.faults
            .send_modify(|faults| faults.connections_max = connections);
    }

    /// Ends every fault. What a stalled connection was sent meanwhile arrives now.
    pub fn heal(&self) {
        self.faults.send_modify(|faults| {
            *faults = Faults {
                cut: faults.cut,
                ..Faults::default()
            };
        });
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: String, faults: watch::Receiver<Faults>, shared: Arc<Shared>) {
    // Dropped with this task, which cuts what is open.
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        while connections.try_join_next().is_some() {}
        let now = *faults.borrow();
        let open = shared.open.load(Ordering::Relaxed);
        if now.refuses || now.connections_max > 0 && open >= now.connections_max {
            continue;
        }
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
        let open = Open::new(&shared);
        let (target, faults) = (target.clone(), faults.clone());
        connections.spawn(async move {
            let _open = open;
            pass(client, &target, number, faults).await;
        });
    }
}

/// Counts a connection.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Passes on both directions until one side closes, or the connection is cut.
async fn pass(client: TcpStream, target: &str, number: u64, mut faults: watch::Receiver<Faults>) {
    // A server that is away closes the connection of its client, too.
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let requests = one_way(from_client, to_server, number, faults.clone(), Direction::Request);
    let answers = one_way(from_server, to_client, number, faults.clone(), Direction::Answer);
    tokio::select! {
        ((), ()) = async { tokio::join!(requests, answers) } => {}
        _ = faults.wait_for(|faults| faults.cut > number) => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

async fn one_way(
    mut from: OwnedReadHalf,
    to: OwnedWriteHalf,
    number: u64,
    faults: watch::Receiver<Faults>,
    direction: Direction,
) {
    let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
    let now = faults.clone();
    let reading = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let mut chunk = buffer[..read].to_owned();
            let faults = *now.borrow();
            let answer = direction == Direction::Answer;
            if answer && faults.corrupts {
                chunk[read / 2] ^= 0x55;
            }
            let delay = if answer { faults.delay } else { Duration::ZERO };
            if sender.send((Instant::now() + delay, chunk)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, write(to, chunks, number, faults));
}

/// Writes each chunk when it is due, and none while the connection is stalled. Then says that no more comes.
async fn write(
    mut to: OwnedWriteHalf,
    mut chunks: mpsc::Receiver<(Instant, Vec<u8>)>,
    number: u64,
    mut faults: watch::Receiver<Faults>,
) {
    while let Some((due, chunk)) = chunks.recv().await {
        time::sleep_until(due).await;
        if faults.wait_for(|faults| faults.stalled <= number).await.is_err()
            || to.write_all(&chunk).await.is_err()
        {
            return;
        }
    }
    if faults.wait_for(|faults| faults.stalled <= number).await.is_ok() {
        // Fails when the other side is gone, which is what it would be told.
        let _ = to.shutdown().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says back what it hears.
    async fn echo() -> (String, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await.is_ok()
                });
            }
        });
        (address, task)
    }

    async fn said(stream: &mut TcpStream, text: &str) -> Vec<u8> {
        stream.write_all(text.as_bytes()).await.expect("written");
        heard(stream, text.len()).await
    }

    async fn heard(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut answer = vec![0; length];
        stream.read_exact(&mut answer).await.expect("read");
        answer
    }

    async fn connect(shim: &Shim) -> TcpStream {
        TcpStream::connect(shim.address()).await.expect("connected")
    }

    #[tokio::test]
    async fn what_is_sound_passes_and_what_is_corrupt_differs() {
        let (target, _server) = echo().await;
        let shim = Shim::start(target).await.expect("a shim");
        let mut stream = connect(&shim).await;
        assert_eq!(said(&mut stream, "hello").await, b"hello");
        shim.corrupt();
        assert_ne!(said(&mut stream, "hello").await, b"hello");
        shim.heal();
        assert_eq!(said(&mut stream, "hello").await, b"hello");
        assert_eq!(shim.connections(), 1);
    }

    #[tokio::test]
    async fn a_stalled_connection_hears_nothing_until_it_heals_and_a_new_one_does() {
        let (target, _server) = echo().await;
        let shim = Shim::start(target).await.expect("a shim");
        let mut old = connect(&shim).await;
        assert_eq!(said(&mut old, "a").await, b"a");
        shim.stall();
        old.write_all(b"b").await.expect("written");
        let mut new = connect(&shim).await;
        assert_eq!(said(&mut new, "c").await, b"c");
        let silent = time::timeout(Duration::from_millis(200), heard(&mut old, 1));
        assert!(silent.await.is_err(), "a stalled connection heard something");
        shim.heal();
        assert_eq!(heard(&mut old, 1).await, b"b");
    }

    #[tokio::test]
    async fn a_cut_connection_ends_and_no_new_one_is_let_in() {
        let (target, _server) = echo().await;
        let shim = Shim::start(target).await.expect("a shim");
        let mut stream = connect(&shim).await;
        assert_eq!(said(&mut stream, "a").await, b"a");
        shim.refuse();
        shim.cut();
        assert!(!matches!(stream.read(&mut [0]).await, Ok(1..)), "it was cut");
        let mut refused = connect(&shim).await;
        assert!(!matches!(refused.read(&mut [0]).await, Ok(1..)), "it was let in");
        shim.heal();
        shim.connections_max(1);
        let mut first = connect(&shim).await;
        assert_eq!(said(&mut first, "a").await, b"a");
        let mut second = connect(&shim).await;
        assert!(
            !matches!(second.read(&mut [0]).await, Ok(1..)),
            "it was one too many"
        );
    }

    #[tokio::test]
    async fn an_answer_is_late_by_what_was_said() {
        let (target, _server) = echo().await;
        let shim = Shim::start(target).await.expect("a shim");
        shim.delay(Duration::from_millis(300));
        let mut stream = connect(&shim).await;
        let started = Instant::now();
        assert_eq!(said(&mut stream, "a").await, b"a");
        assert!(started.elapsed() >= Duration::from_millis(300));
    }
}
