//! What requests do when an agent redirects, refuses, repeats a token or takes no more connections.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::*;
use crate::{tls, token::Source};

const SECRET: &str = "5ec7e700-cafe";
/// No test waits longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Something that speaks as an agent does, and notes what it is asked.
struct Fake {
    agent: Agent,
    asked: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    held: watch::Sender<usize>,
    released: watch::Sender<bool>,
    /// Dropped to take no more connections.
    accepting: Option<JoinSet<()>>,
    serving: Arc<Mutex<JoinSet<()>>>,
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut fake = Self {
            agent: Agent::parse(&address, false).unwrap(),
            asked: Arc::default(),
            connections: Arc::default(),
            held: watch::Sender::default(),
            released: watch::Sender::default(),
            accepting: None,
            serving: Arc::default(),
        };
        let (asked, connections, serving) = (
            Arc::clone(&fake.asked),
            Arc::clone(&fake.connections),
            Arc::clone(&fake.serving),
        );
        let (held, released) = (fake.held.clone(), fake.released.clone());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Ordering::Relaxed);
                let (asked, held, released) = (Arc::clone(&asked), held.clone(), released.subscribe());
                serving
                    .lock()
                    .unwrap()
                    .spawn(serve(stream, asked, held, released));
            }
        });
        fake.accepting = Some(accepting);
        fake
    }

    async fn send(&self, http: &Http, lane: &Lane, path: &str) -> Result<Answer> {
        let request = Request::get(&self.agent, &[path], "try");
        let answer = time::timeout(LIMIT, http.send(lane, request))
            .await
            .expect("in time")?;
        http.success(answer)
    }
}

/// Answers by the path; `held` is answered once it is released.
async fn serve(
    mut stream: TcpStream,
    asked: Arc<Mutex<Vec<String>>>,
    held: watch::Sender<usize>,
    mut released: watch::Receiver<bool>,
) {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        text += &String::from_utf8_lossy(&buffer[..length]);
        if !text.ends_with("\r\n\r\n") {
            continue;
        }
        let request = std::mem::take(&mut text);
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(request.clone());
        if path == "/v1/held" {
            held.send_modify(|count| *count += 1);
            let _ = released.wait_for(|is_released| *is_released).await;
        }
        let (status, body) = match path.as_str() {
            "/v1/redirect" => ("301 Moved Permanently\r\nLocation: /v1/agent/self", String::new()),
            "/v1/echo" => ("403 Forbidden", request),
            "/v1/full" => ("429 Too Many Requests", String::new()),
            "/v1/broken" => ("500 Internal Server Error", "No cluster leader".to_owned()),
            _ => ("200 OK", "[]".to_owned()),
        };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn http() -> Http {
    let tls = tls::settings(&tls::Files::default(), false).unwrap();
    Http::new(&tls, Token::open(Source::Value(SECRET.to_owned())).unwrap()).unwrap()
}

fn shown(error: &Error) -> String {
    format!("{error:?}")
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (fake, http) = (Fake::start().await, http());
    let error = fake.send(&http, &http.listing, "redirect").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(fake.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_an_agent_answers_is_told_without_the_token() {
    let (fake, http) = (Fake::start().await, http());
    for (path, kind) in [
        ("echo", ErrorKind::PermissionDenied),
        ("full", ErrorKind::Unavailable),
        ("broken", ErrorKind::Unavailable),
    ] {
        let error = fake.send(&http, &http.listing, path).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{path}");
        assert!(
            error
                .to_string()
                .starts_with("try in Consul at http://127.0.0.1:"),
            "{error}"
        );
        assert!(!shown(&error).contains(SECRET), "{error:?}");
    }
    let asked = fake.asked.lock().unwrap().concat();
    assert!(asked.contains(&format!("x-consul-token: {SECRET}")), "{asked}");
    assert!(!asked.contains('?'), "{asked}");
}

#[tokio::test]
async fn lists_take_a_few_connections_and_none_of_those_for_heartbeats() {
    let (fake, http) = (Arc::new(Fake::start().await), Arc::new(http()));
    let mut lists = JoinSet::new();
    for _ in 0..5 * LISTING_MAX {
        let (fake, http) = (Arc::clone(&fake), Arc::clone(&http));
        lists.spawn(async move { fake.send(&http, &http.listing, "held").await.unwrap() });
    }
    let mut held = fake.held.subscribe();
    held.wait_for(|count| *count == LISTING_MAX).await.unwrap();
    fake.send(&http, &http.announcing, "heartbeat").await.unwrap();
    assert_eq!(*fake.held.borrow(), LISTING_MAX);
    fake.released.send_replace(true);
    lists.join_all().await;
    assert_eq!(*fake.held.borrow(), 5 * LISTING_MAX);
    // And one for the heartbeat.
    assert_eq!(fake.connections.load(Ordering::Relaxed), LISTING_MAX + 1);
    fake.send(&http, &http.listing, "list").await.unwrap();
    assert_eq!(fake.connections.load(Ordering::Relaxed), LISTING_MAX + 1);
}

#[tokio::test]
async fn a_connection_stays_for_heartbeats_when_no_other_can_be_had() {
    let (mut fake, http) = (Fake::start().await, http());
    fake.send(&http, &http.announcing, "heartbeat").await.unwrap();
    fake.accepting.take().unwrap().shutdown().await;
    fake.send(&http, &http.announcing, "heartbeat").await.unwrap();
    let error = fake.send(&http, &http.listing, "list").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(fake.connections.load(Ordering::Relaxed), 1);
}

#[test]
fn the_documented_connections_are_those_that_a_handle_takes() {
    let all = FOLLOWING_MAX + LISTING_MAX + ANNOUNCING_MAX;
    let page = include_str!("../../../docs/registries.md");
    let said = format!(
        "A handle takes {all} at most: {FOLLOWING_MAX} to wait for changes of as many services, {LISTING_MAX} for \
         lists, {ANNOUNCING_MAX} for what it registers."
    );
    assert!(page.contains(&said), "{said}");
    let said = format!("takes at most {all} of the 200 connections");
    assert!(include_str!("../lib.rs").contains(&said), "{said}");
}

#[tokio::test]
async fn room_to_follow_ends() {
    let http = http();
    let rooms: Vec<_> = std::iter::from_fn(|| http.room_to_follow()).collect();
    assert_eq!(rooms.len(), FOLLOWING_MAX);
}
