//! Calls that their caller gave up before the server got to them: those of a server that stood still, and an attack.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

use super::support::{ECHO, LONG, TestServer};
use crate::server::Settings;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const CANCEL: [u8; 4] = [0, 0, 0, 8];
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

/// As many as one connection may have in flight.
const STREAMS: u32 = 200;

#[tokio::test]
async fn callers_who_gave_up_while_the_server_stood_still_end_no_other_call() {
    let settings = Settings {
        streams_max: STREAMS,
        ..Settings::default()
    };
    let mut server = TestServer::start_in_memory(settings);
    let mut peer = Peer::connect(server.dial()).await;
    peer.call("wait").await;
    server.running(1).await;
    // Three deadlines long, each with as many new calls as there may be. Nothing else runs until all of it is there.
    peer.give_up(3 * (STREAMS - 1)).await;
    peer.call("wait").await;
    server.running(2).await;
    server.released.notify_waiters();
    let (kind, stream, _) = peer.next(|kind| kind == HEADERS || kind == GOAWAY).await;
    assert_eq!((kind, stream), (HEADERS, 1), "the call before it is answered");
}

#[tokio::test]
async fn a_flood_of_resets_ends_its_connection() {
    let server = TestServer::start_in_memory(Settings::default());
    let mut peer = Peer::connect(server.dial()).await;
    peer.give_up(2_000).await;
    let (_, _, told) = peer.next(|kind| kind == GOAWAY).await;
    assert_eq!(told[4..8], ENHANCE_YOUR_CALM);
    assert_eq!(server.connect().await.say("hello").await.unwrap(), "hello");
}

#[tokio::test]
async fn who_sets_the_limit_of_resets_has_that_one() {
    let settings = Settings {
        pending_resets_max: Some(20),
        ..Settings::default()
    };
    let server = TestServer::start_in_memory(settings);
    let mut peer = Peer::connect(server.dial()).await;
    peer.give_up(21).await;
    let (_, _, told) = peer.next(|kind| kind == GOAWAY).await;
    assert_eq!(told[4..8], ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn refused_calls_whose_messages_come_late_end_no_other_call() {
    // The server takes no more than the one that waits.
    answers_come_before_messages(1, "Call").await;
}

#[tokio::test]
async fn failed_calls_whose_messages_come_late_end_no_other_call() {
    // Nobody has this method, and nobody reads its requests.
    answers_come_before_messages(100, "None").await;
}

/// While a call waits, calls of `method` are answered before their messages are sent, many more than h2 takes for no
/// attack.
async fn answers_come_before_messages(calls_max: usize, method: &str) {
    let settings = Settings {
        calls_max,
        local_resets_max: 20,
        ..Settings::default()
    };
    let mut server = TestServer::start_in_memory(settings);
    let mut peer = Peer::connect(server.dial()).await;
    peer.call("wait").await;
    server.running(1).await;
    for call in 0..100 {
        let (stream, mut bytes) = (peer.next_stream, Vec::new());
        peer.next_stream += 2;
        frame(&mut bytes, HEADERS, END_HEADERS, stream, &headers(method));
        peer.io.write_all(&bytes).await.unwrap();
        let (kind, answered, _) = peer.next(|kind| kind == HEADERS || kind == GOAWAY).await;
        assert_eq!((kind, answered), (HEADERS, stream), "after {call} early answers");
        bytes.clear();
        frame(&mut bytes, DATA, END_STREAM, stream, &[0, 0, 0, 0, 0]);
        peer.io.write_all(&bytes).await.unwrap();
    }
    server.released.notify_waiters();
    let (kind, stream, _) = peer.next(|kind| kind == HEADERS || kind == GOAWAY).await;
    assert_eq!((kind, stream), (HEADERS, 1), "the call before them is answered");
}

/// A client that writes its frames by hand, so that the server finds many of them at once.
struct Peer {
    io: DuplexStream,
    next_stream: u32,
}

impl Peer {
    async fn connect(mut io: DuplexStream) -> Self {
        let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frame(&mut hello, SETTINGS, 0, 0, &[]);
        io.write_all(&hello).await.unwrap();
        Self { io, next_stream: 1 }
    }

    /// Calls the service of the tests.
    async fn call(&mut self, text: &str) {
        let mut bytes = Vec::new();
        frame(
            &mut bytes,
            HEADERS,
            END_HEADERS,
            self.next_stream,
            &headers("Call"),
        );
        let mut message = vec![0, 0, 0, 0, length(text) + 2, 0x0a, length(text)];
        message.extend_from_slice(text.as_bytes());
        frame(&mut bytes, DATA, END_STREAM, self.next_stream, &message);
        self.next_stream += 2;
        self.io.write_all(&bytes).await.unwrap();
    }

    /// Begins as many calls, and gives each up; the server finds all of it at once.
    async fn give_up(&mut self, calls: u32) {
        let mut bytes = Vec::new();
        // The shortest there is: `POST http /`.
        let headers = [0x83, 0x86, 0x84];
        for _ in 0..calls {
            frame(&mut bytes, HEADERS, END_HEADERS, self.next_stream, &headers);
            frame(&mut bytes, RST_STREAM, 0, self.next_stream, &CANCEL);
            self.next_stream += 2;
        }
        self.io.write_all(&bytes).await.unwrap();
    }

    /// The next frame of the server that is wanted: what it is, its stream, and its payload.
    async fn next(&mut self, wanted: impl Fn(u8) -> bool) -> (u8, u32, Vec<u8>) {
        let next = async {
            loop {
                let mut head = [0; 9];
                self.io.read_exact(&mut head).await.unwrap();
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; length as usize];
                self.io.read_exact(&mut payload).await.unwrap();
                if wanted(head[3]) {
                    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
                    return (head[3], stream, payload);
                }
            }
        };
        timeout(LONG, next).await.expect("the server should answer")
    }
}

/// `POST http` of this method, as gRPC has it.
fn headers(method: &str) -> Vec<u8> {
    let mut headers = vec![0x83, 0x86];
    let path = format!("/{ECHO}/{method}");
    let kind = "application/grpc";
    // Literals that are not remembered, of the static names 4 and 31.
    headers.extend_from_slice(&[0x04, length(&path)]);
    headers.extend_from_slice(path.as_bytes());
    headers.extend_from_slice(&[0x0f, 0x10, length(kind)]);
    headers.extend_from_slice(kind.as_bytes());
    headers
}

fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    bytes.extend_from_slice(&length[1..]);
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
}

fn length(text: &str) -> u8 {
    u8::try_from(text.len()).unwrap()
}
