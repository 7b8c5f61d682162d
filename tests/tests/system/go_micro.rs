//! `micro call` with a node of Go Micro's, of which there is the record and nothing else: no reflection, no health.
//!
//! What stands in the registry and what is answered is what Go Micro v5.30.0 wrote, byte for byte.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use micro_test_servers::{Consul, Etcd};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::world::World;

/// How many bytes stand before each message.
const PREFIX: usize = 5;
/// The tags with which it registers a service in Consul.
const TAGS: &[&str] = &[
    "t-789caa564a2acacf4e2d52b252ca28292950aa05040000ffff364d0600",
    "t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
    "t-789caa562a4e2d2a4b2d52b2524a2f2a4856aa05040000ffff36fa05fe",
    "t-789caa562a294acc2b2ec82f2a51b2524a2f2a4856aa05040000ffff4f4c0754",
    "t-789caa562a28ca2fc94fcecf51b2524a2f2a4856aa05040000ffff468306d9",
    "e-789c5ccc410a02311403d0bb645d3c40b72e3c8027f86010a1ed8cffa7e230f4ee22c2a8b34cc8cb0ae7bd3384bca25925328e53139f428296f9bf7858e90ce4d64b1909ce98a716fcc16739ad7eed9677b4527631d99bc6679321efc448db972d879393bab56b60bc020000ffffdad93abe",
    "e-789c8ccd410a02310c85e1bbbc75f1003d816b5d8a8b806110d24e6d52a194de5d18b5087531abc04f1e5f43e6476135f8864881e1716491f5f4c90e56d39ffa2429acf09731dbce7857cbf7b8fc3cc622d2afdd21b3a6352acf62923a79ef366b815569d9050636ba91117cebeebb3f533d6c04fa2b0000ffff642458c2",
    "v-789c32d433d03300040000ffff02ce00ee",
];
/// Where it listened when it wrote the record.
const LISTENED: &str = "127.0.0.1:41753";
/// Key and value in etcd.
const RECORD: (&str, &str) = (
    "/micro/registry/gogreeter/gogreeter-471085f0-46eb-453d-bfcb-38d75a309aba",
    r#"{"name":"gogreeter","version":"1.0.0","metadata":null,"endpoints":[{"request":{"name":"Context","type":"Context","values":null},"response":{"name":"Stream","type":"Stream","values":null},"metadata":{"stream":"true"},"name":"Say.Greetings"},{"request":{"name":"HelloRequest","type":"HelloRequest","values":[{"name":"name","type":"string","values":null}]},"response":{"name":"HelloReply","type":"HelloReply","values":[{"name":"message","type":"string","values":null}]},"metadata":{},"name":"Say.Hello"}],"nodes":[{"metadata":{"broker":"http","protocol":"grpc","registry":"etcd","server":"grpc","transport":"grpc"},"id":"gogreeter-471085f0-46eb-453d-bfcb-38d75a309aba","address":"127.0.0.1:41753"}]}"#,
);
/// What it answers to somebody without a name.
const REFUSAL: [(&str, &str); 3] = [
    ("grpc-status", "3"),
    (
        "grpc-message",
        r#"{"id":"gogreeter","code":400,"detail":"`name` is empty","status":"Bad Request"}"#,
    ),
    (
        "grpc-status-details-bin",
        "CAMST3siaWQiOiJnb2dyZWV0ZXIiLCJjb2RlIjo0MDAsImRldGFpbCI6ImBuYW1lYCBpcyBlbXB0eSIsInN0YXR1cyI6IkJhZCBSZXF1ZXN0In0aUAogdHlwZS5nb29nbGVhcGlzLmNvbS9lcnJvcnMuRXJyb3ISLAoJZ29ncmVldGVyEJADGg9gbmFtZWAgaXMgZW1wdHkiC0JhZCBSZXF1ZXN0",
    ),
];

/// A server that answers as Go Micro's. It ends when this is dropped.
struct GoMicro {
    address: SocketAddr,
    _accepting: JoinSet<()>,
}

impl GoMicro {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    // Whoever has what he wanted may be gone in the middle of anything.
                    let Ok(mut connection) = h2::server::handshake(stream).await else {
                        return;
                    };
                    let mut calls = JoinSet::new();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        calls.spawn(serve(request, respond));
                    }
                });
            }
        });
        Self {
            address,
            _accepting: accepting,
        }
    }
}

async fn serve(request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let content_type = request.headers()["content-type"].clone();
    let path = request.uri().path().to_owned();
    let (service, method) = path.strip_prefix('/').unwrap().split_once('/').unwrap();
    let service = service.rsplit('.').next().unwrap();
    // It does not wait for what is sent to a service that is not there.
    if service != "Say" {
        let message = format!("unknown service {service}");
        return refuse(
            respond,
            content_type,
            &[("grpc-status", "12"), ("grpc-message", &message)],
        );
    }
    // The other codec of its is for generated messages.
    assert_eq!(content_type, "application/grpc+json");
    let name = name(request.into_body()).await;
    let replies = match method {
        _ if name.is_empty() => return refuse(respond, content_type, &REFUSAL),
        "Hello" => vec![format!("Hello {name}")],
        "Greetings" => (1..=3)
            .map(|number| format!("Hello {name}, {number} of 3"))
            .collect(),
        other => panic!("asked for {other}"),
    };
    answer(respond, content_type, &replies);
}

/// The name in the one message that comes.
async fn name(mut body: RecvStream) -> String {
    let mut sent = Vec::new();
    while let Some(chunk) = body.data().await {
        sent.extend_from_slice(&chunk.unwrap());
    }
    let message: Value = serde_json::from_slice(&sent[PREFIX..]).unwrap();
    message["name"].as_str().unwrap().to_owned()
}

fn answer(mut respond: SendResponse<Bytes>, content_type: HeaderValue, replies: &[String]) {
    let head = Response::builder().header("content-type", content_type);
    let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
    for reply in replies {
        let message = json!({ "message": reply }).to_string();
        let length = u32::try_from(message.len()).unwrap();
        let framed = [&[0][..], &length.to_be_bytes(), message.as_bytes()].concat();
        stream.send_data(framed.into(), false).unwrap();
    }
    stream
        .send_trailers(headers(&[("grpc-status", "0"), ("grpc-message", "")]))
        .unwrap();
}

fn refuse(mut respond: SendResponse<Bytes>, content_type: HeaderValue, status: &[(&str, &str)]) {
    let mut response = Response::new(());
    *response.headers_mut() = headers(status);
    response.headers_mut().insert("content-type", content_type);
    // The caller may have been content with less.
    let _ = respond.send_response(response, true);
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let header = |(name, value): &(&str, &str)| -> (HeaderName, HeaderValue) {
        (name.parse().unwrap(), value.parse().unwrap())
    };
    pairs.iter().map(header).collect()
}

/// The command calls the service by the methods that its record has, streams among them, and shows its errors.
fn is_called(world: &World) {
    let ada = r#"{"name":"Ada"}"#;
    for method in ["Say.Hello", "Hello", "gogreeter.Say/Hello"] {
        let call = world.micro(&["call", "gogreeter", method, ada]);
        assert_eq!(call.stdout, "{\"message\":\"Hello Ada\"}\n", "{call:?}");
        assert!(call.status.success() && call.stderr.is_empty(), "{call:?}");
    }
    let call = world.micro(&["call", "gogreeter", "Say.Greetings", ada]);
    let three = (1..=3).map(|number| format!("{{\"message\":\"Hello Ada, {number} of 3\"}}\n"));
    assert_eq!(call.stdout, three.collect::<String>(), "{call:?}");
    assert!(call.status.success(), "{call:?}");

    let call = world.micro(&["call", "gogreeter", "Say.Hello", r#"{"name":""}"#]);
    assert!(!call.status.success() && call.stdout.is_empty(), "{call:?}");
    assert!(
        call.stderr.contains("INVALID_ARGUMENT") && call.stderr.contains("`name` is empty"),
        "{call:?}"
    );
    let call = world.micro(&["call", "gogreeter", "Say.Nope", ada]);
    assert!(!call.status.success(), "{call:?}");
    let there = "`gogreeter` has no method `Say.Nope`; there are: ";
    assert!(
        call.stderr.contains(there) && call.stderr.contains("gogreeter.Say/Hello"),
        "{call:?}"
    );

    let describe = world.micro(&["describe", "gogreeter"]);
    assert!(
        describe.stdout.contains("Say/Hello") && describe.stdout.contains("Say/Greetings"),
        "{describe:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_go_micros_in_consul_is_called() {
    let (consul, server) = (Consul::builder().start().await.unwrap(), GoMicro::start().await);
    let (_, id) = RECORD.0.rsplit_once('/').unwrap();
    let service = json!({
        "ID": id,
        "Name": "gogreeter",
        "Address": server.address.ip().to_string(),
        "Port": server.address.port(),
        "Tags": TAGS,
    })
    .to_string();
    let put = consul.request(Method::PUT, "agent/service/register", &service);
    assert_eq!(put.await.unwrap().0, StatusCode::OK);
    is_called(&World::Consul(consul));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_go_micros_in_etcd_is_called() {
    let (etcd, server) = (Etcd::builder().start().await.unwrap(), GoMicro::start().await);
    let (key, record) = RECORD;
    let record = record.replace(LISTENED, &server.address.to_string());
    etcd.put(key, record.as_bytes()).await.unwrap();
    is_called(&World::Etcd(etcd));
}
