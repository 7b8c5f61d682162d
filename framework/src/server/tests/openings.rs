//! Peers that do not say, or not in time, what they want.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    time::{Duration, Instant, sleep},
};

use super::support::TestServer;
use crate::server::Settings;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// How long the server keeps a connection on which nothing more is sent.
async fn kept(mut peer: impl AsyncRead + Unpin) -> Duration {
    let started = Instant::now();
    let mut answer = Vec::new();
    // Whether the end is clean does not matter here.
    let _ = peer.read_to_end(&mut answer).await;
    started.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_say_what_it_wants_is_cut_after_the_handshake_timeout() {
    let server = TestServer::start_in_memory(Settings::default());
    for sent in [
        b"",
        &PREFACE[..10],
        PREFACE,
        &[PREFACE, &EMPTY_SETTINGS[..4]].concat(),
        b"GET /health HTTP/1.1\r\nhost: x\r\n",
    ] {
        let mut peer = server.dial();
        peer.write_all(sent).await.unwrap();
        let kept = kept(peer).await;
        assert!(kept >= Duration::from_secs(4), "{kept:?} after {sent:?}");
        assert!(kept < Duration::from_secs(6), "{kept:?} after {sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_a_byte_a_second_is_cut() {
    let server = TestServer::start_in_memory(Settings::default());
    let headers_for_ever = [
        PREFACE,
        EMPTY_SETTINGS,
        &[0, 0x40, 0, 1, 0, 0, 0, 0, 1],
        &[0x82; 400],
    ]
    .concat();
    let opened = PREFACE.len() + EMPTY_SETTINGS.len();
    let slow_request = b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: 1\r\n\r\n".to_vec();
    for (sent, at_once) in [(slow_request, 0), (headers_for_ever, opened)] {
        let (mut answers, mut peer) = tokio::io::split(server.dial());
        let dripping = tokio::spawn(async move {
            peer.write_all(&sent[..at_once]).await.unwrap();
            for byte in &sent[at_once..] {
                sleep(Duration::from_secs(1)).await;
                if peer.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        });
        let kept = kept(&mut answers).await;
        assert!(kept < Duration::from_secs(12), "{kept:?}");
        dripping.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_connects_ahead_of_its_calls_stays_connected() {
    let server = TestServer::start_in_memory(Settings::default());
    let connection = server.connect().await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!(connection.say("hello").await.unwrap(), "hello");
    sleep(Duration::from_secs(600)).await;
    assert_eq!(connection.say("hello again").await.unwrap(), "hello again");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_no_longer_answers_is_found() {
    let server = TestServer::start_in_memory(Settings::default());
    let mut peer = server.dial();
    peer.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let kept = kept(peer).await;
    assert!(
        kept >= Duration::from_secs(30) && kept < Duration::from_secs(60),
        "{kept:?}"
    );
}

#[tokio::test]
async fn peers_that_say_nothing_hold_nobody_up() {
    let server = TestServer::start(Settings::default()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(server.tcp().await);
    }
    assert_eq!(server.connect().await.say("hello").await.unwrap(), "hello");
}
