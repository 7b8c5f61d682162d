//! Connections to peers that say what they are told to.

use std::sync::Mutex;

use http_body::Frame;
use http_body_util::StreamBody;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tonic::{Status, body::Body};

use micro_registry::Address;

use super::{
    super::{
        body::Source,
        connector::{Connect, Connector, Io},
        reach::Reach,
        row::{Rows, Seat},
    },
    *,
};
use crate::control::Owned;

/// SETTINGS that change nothing.
pub(in super::super) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// A peer that says this and nothing else.
#[derive(Debug)]
struct Says(Vec<u8>);

impl Connect for Says {
    fn connect(&self, _address: &Address) -> super::super::connector::Connecting {
        let words = self.0.clone();
        Box::pin(async move {
            let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
            theirs.write_all(&words).await?;
            // It listens for ever.
            tokio::spawn(async move { tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await });
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// Hands out one end of a pipe, once.
#[derive(Debug)]
struct Hands(Mutex<Option<DuplexStream>>);

impl Connect for Hands {
    fn connect(&self, _address: &Address) -> super::super::connector::Connecting {
        let end = self.0.lock().unwrap().take().unwrap();
        Box::pin(async move { Ok(Box::new(end) as Box<dyn Io>) })
    }
}

/// A connection to a peer that says no more than it must and allows this many streams. Ends with its driver.
pub(in super::super) async fn connection(id: u64, streams_max: u8) -> (Connection, Driver) {
    // SETTINGS with MAX_CONCURRENT_STREAMS.
    let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams_max];
    let (mut connection, driver) = open(&settings, true).await.unwrap();
    connection.id = id;
    assert_eq!(connection.streams.max(), usize::from(streams_max));
    (connection, driver)
}

/// A connection to a peer that says these words, which is asked after 10 s of silence and given up after 5 s more.
pub(in super::super) async fn open(words: &[u8], while_idle: bool) -> io::Result<(Connection, Driver)> {
    Connection::open(1, plan(Arc::new(Says(words.to_vec())), while_idle)).await
}

/// How connections are made to a peer that is asked after 10 s of silence and given up after 5 s more.
pub(in super::super) fn plan(connector: Arc<dyn Connect>, while_idle: bool) -> Plan {
    let address = "127.0.0.1:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "greeter-1", address);
    Plan {
        dialer: Dialer::new(Connector::new(Some(connector), Reach::default(), "test"), None),
        node: Arc::new(node.build().unwrap()),
        timeout: Duration::from_secs(1),
        keepalive: Keepalive {
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            while_idle,
        },
        stream_window: 2 * 1024 * 1024,
        streams: Lease::new(&Seat::default(), &mut Rows::default()),
        room: Arc::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_http_2_is_a_connection() {
    assert!(open(SETTINGS, true).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_speaks_something_else_is_none() {
    for words in [
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "+OK\r\n",
    ] {
        let error = open(words.as_bytes(), true).await.unwrap_err();
        assert_ne!(error.to_string(), "", "{words}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_says_nothing_is_given_up() {
    let error = open(&[], true).await.unwrap_err();
    assert_eq!(error.to_string(), "no HTTP/2 within 1s");
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_stream_hears_that_the_peer_allows_more() {
    let (ours, mut theirs) = tokio::io::duplex(64 * 1024);
    let settings = |streams_max| [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, streams_max];
    theirs.write_all(&settings(1)).await.unwrap();
    let plan = plan(Arc::new(Hands(Mutex::new(Some(ours)))), true);
    let room = Arc::clone(&plan.room);
    let (connection, driver) = Connection::open(1, plan).await.unwrap();
    let _driven = Owned(tokio::spawn(driver));
    assert!(connection.reserve() && !connection.reserve());
    let waiting = room.wait();
    let mut released = std::pin::pin!(waiting.released());
    released.as_mut().enable();
    theirs.write_all(&settings(2)).await.unwrap();
    time::timeout(Duration::from_secs(1), released).await.unwrap();
    assert!(connection.reserve() && !connection.reserve());
    theirs.write_all(&settings(1)).await.unwrap();
    let less = waiting.released();
    time::timeout(Duration::from_secs(1), less).await.unwrap_err();
}

/// A connection to a peer whose frames a test writes, driven for as long as what comes with it lives.
async fn with_peer() -> (Connection, DuplexStream, impl Sized) {
    let (ours, mut theirs) = tokio::io::duplex(1024 * 1024);
    theirs.write_all(SETTINGS).await.unwrap();
    let plan = plan(Arc::new(Hands(Mutex::new(Some(ours)))), true);
    let (connection, driver) = Connection::open(1, plan).await.unwrap();
    (connection, theirs, Owned(tokio::spawn(driver)))
}

fn request() -> Request<()> {
    Request::post("http://127.0.0.1:9090/greeter.Say/Hello")
        .body(())
        .unwrap()
}

/// The head of an answer on this stream: `:status 200`.
fn answer(stream: u32, flags: u8) -> Vec<u8> {
    let mut frame = vec![0, 0, 1, 1, END_HEADERS | flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.push(0x88);
    frame
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CANCEL: [u8; 4] = [0, 0, 0, 8];

#[tokio::test(start_paused = true)]
async fn answers_to_calls_that_were_given_up_end_no_other_call() {
    let (connection, theirs, _driven) = with_peer().await;
    let (mut heard, mut said) = tokio::io::split(theirs);
    let _listens = Owned(tokio::spawn(async move {
        tokio::io::copy(&mut heard, &mut tokio::io::sink()).await
    }));
    let mut kept = std::pin::pin!(connection.send(request(), RequestBody::Whole(Bytes::new())));
    assert!(futures_util::poll!(&mut kept).is_pending());
    // More than h2 takes for no attack, with those that it remembers.
    let given_up = u32::try_from(GIVEN_UP_MAX + 2_000).unwrap();
    for _ in 0..given_up {
        let mut call = Box::pin(connection.send(request(), RequestBody::Whole(Bytes::new())));
        assert!(futures_util::poll!(&mut call).is_pending());
        tokio::task::yield_now().await;
        drop(call);
    }
    for call in 1..=given_up {
        said.write_all(&answer(2 * call + 1, END_STREAM)).await.unwrap();
    }
    said.write_all(&answer(1, END_STREAM)).await.unwrap();
    let answered = time::timeout(Duration::from_secs(1), kept).await.unwrap();
    assert_eq!(answered.unwrap().status(), 200);
}

/// What the next frame of this kind says.
async fn frame_of(peer: &mut DuplexStream, kind: u8) -> Vec<u8> {
    loop {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        peer.read_exact(&mut payload).await.unwrap();
        if head[3] == kind {
            return payload;
        }
    }
}

/// Who lets go of an answer wants nothing more of the call: what is still being sent of it is not waited for.
#[tokio::test(start_paused = true)]
async fn who_drops_an_answer_cancels_the_request_that_is_still_being_sent() {
    let (connection, mut theirs, _driven) = with_peer().await;
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Status>>();
    let messages = tokio_stream::wrappers::UnboundedReceiverStream::new(receiver);
    let source = Source::new(Body::new(StreamBody::new(messages))).await.unwrap();
    let body = source.attempt().unwrap();
    drop(source);
    // The preface is no frame. Nobody answers before there is a request.
    let mut preface = [0; 24];
    theirs.read_exact(&mut preface).await.unwrap();
    let answers = async {
        frame_of(&mut theirs, HEADERS).await;
        theirs.write_all(&answer(1, 0)).await.unwrap();
    };
    let (response, ()) = tokio::join!(connection.send(request(), body), answers);
    let response = response.unwrap();
    sender.send(Ok(Frame::data(Bytes::from_static(&[0; 5])))).unwrap();
    tokio::task::yield_now().await;
    drop(response);
    let reset = frame_of(&mut theirs, RST_STREAM);
    assert_eq!(
        time::timeout(Duration::from_secs(1), reset).await.unwrap(),
        CANCEL
    );
    assert!(sender.is_closed(), "nobody waits for more of the request");
}
