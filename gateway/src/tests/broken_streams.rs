//! Streams that fail after they began: who called is told what concerns them, and nothing of the inside.

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response, header};
use http_body_util::BodyExt;
use tokio::time::{pause, resume, timeout};
use tonic::body::Body;

use super::{
    browser::{self, BINARY, TEXT, decoded, order, read},
    support::{LONG, Shop, begin},
};

const FIRST: &str = r#"{"message":"Hello NAME","count":1}"#;
const GENERAL: &str = "the call failed; the request id tells those who run the service which one it was";
/// How a stream fails after its first message, and the code and the text that who called it is told.
const FAILURES: [(&str, &str, &str); 2] = [("falls", "13", GENERAL), ("refuses", "3", "the second is wrong")];

/// What a stream of JSON says, in lines or in events.
async fn json(shop: &Shop, accept: &str, name: &str) -> String {
    let request = Request::post("/shop/shop.Shop/Track")
        .header("x-request-id", "r-7")
        .header("x-request-timeout", "50s")
        .header(header::ACCEPT, accept);
    let response = begin(&shop.gateway, request, &format!(r#"{{"name":"{name}"}}"#)).await;
    String::from_utf8(taken(shop, response, name).await).unwrap()
}

/// What comes by gRPC-Web: the messages, and the trailers in their order.
async fn web(shop: &Shop, form: &str, name: &str) -> (Vec<String>, Vec<(String, String)>) {
    let body = match form {
        TEXT => STANDARD.encode(order(name)).into_bytes(),
        _ => order(name),
    };
    let headers = [("accept", form), ("x-request-id", "r-7"), ("grpc-timeout", "50S")];
    let response = browser::begin(shop, "/shop.Shop/Track", form, body, &headers).await;
    let mut bytes = taken(shop, response, name).await;
    if form == TEXT {
        bytes = decoded(&bytes);
        tells_nothing(shop, &String::from_utf8_lossy(&bytes));
    }
    let (messages, trailers) = read(&bytes);
    (messages, trailers.into_iter().collect())
}

/// Takes the first message of an answer, lets its stream end badly, and takes the rest.
async fn taken(shop: &Shop, response: Response<Body>, name: &str) -> Vec<u8> {
    let (parts, mut body) = response.into_parts();
    assert_eq!(
        (parts.status.as_u16(), &parts.headers["x-request-id"]),
        (200, &"r-7".parse().unwrap())
    );
    let first = timeout(LONG, body.frame()).await.expect("a first message comes");
    let mut bytes = first.unwrap().unwrap().into_data().unwrap().to_vec();
    match name {
        // What waits is the deadline.
        "endless" => pause(),
        _ => shop.fake.end(),
    }
    let rest = timeout(LONG, body.collect()).await.expect("the answer ends");
    if name == "endless" {
        resume();
    }
    bytes.extend(rest.unwrap().to_bytes());
    tells_nothing(
        shop,
        &format!("{:?} {}", parts.headers, String::from_utf8_lossy(&bytes)),
    );
    bytes
}

fn tells_nothing(shop: &Shop, text: &str) {
    let address = shop.fake.address();
    let inside = ["hunter2", "db-7", "micro-node", "127.0.0.1", "DebugInfo"];
    let (address, port) = (address.to_string(), format!(":{}", address.port()));
    for inside in inside.into_iter().chain([address.as_str(), port.as_str()]) {
        assert!(!text.contains(inside), "{inside} in {text}");
    }
}

#[tokio::test]
async fn what_is_lines_or_events_ends_with_what_the_caller_may_know() {
    let shop = Shop::exporting(&["shop"]).await;
    for (name, code, text) in FAILURES {
        let first = FIRST.replace("NAME", name);
        let error = format!(
            r#"{{"code":{code},"details":[{{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"r-7"}}],"message":"{text}"}}"#
        );
        assert_eq!(
            json(&shop, "application/x-ndjson", name).await,
            format!("{{\"result\":{first}}}\n{{\"error\":{error}}}\n")
        );
        assert_eq!(
            json(&shop, "text/event-stream", name).await,
            format!("event: result\ndata: {first}\n\nevent: error\ndata: {error}\n\n")
        );
    }
}

#[tokio::test]
async fn what_is_grpc_web_ends_with_what_the_caller_may_know() {
    let shop = Shop::exporting(&["shop"]).await;
    for form in [BINARY, TEXT] {
        for (name, code, text) in FAILURES {
            let (messages, trailers) = web(&shop, form, name).await;
            assert_eq!(messages, [format!("Hello {name}")]);
            let text = text.replace(' ', "%20");
            let expected = [("grpc-message", text.as_str()), ("grpc-status", code)];
            assert_eq!(
                trailers,
                expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
            );
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_tells_nothing_of_the_node() {
    // One whose node panics, with which its connection ends, and one that takes longer than it may.
    for name in ["panics", "endless"] {
        let first = FIRST.replace("NAME", name);
        for accept in ["application/x-ndjson", "text/event-stream"] {
            let shop = Shop::exporting(&["shop"]).await;
            let text = json(&shop, accept, name).await;
            assert!(text.contains(&first), "{name}: {text}");
            assert!(
                text.contains(r#""requestId":"r-7""#) && !text.contains(r#""code":0"#),
                "{text}"
            );
        }
        for form in [BINARY, TEXT] {
            let shop = Shop::exporting(&["shop"]).await;
            let (messages, trailers) = web(&shop, form, name).await;
            assert_eq!(messages[0], format!("Hello {name}"));
            let names: Vec<_> = trailers.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["grpc-message", "grpc-status"]);
            assert_ne!(trailers[1].1, "0");
        }
    }
}

/// What is logged.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn what_is_not_shown_is_logged_by_the_id_of_the_request() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    // With a second subscriber, what another test's thread is the first to log asks all of them whether it is wanted.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    let shop = Shop::exporting(&["shop"]).await;
    for name in ["falls", "refuses"] {
        json(&shop, "application/x-ndjson", name).await;
        web(&shop, BINARY, name).await;
    }
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    // A refusal was shown to whom it concerns.
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("a call failed"))
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in lines {
        for part in [
            "WARN",
            "service=\"shop\"",
            "method=\"shop.Shop/Track\"",
            "id=\"r-7\"",
            "hunter2",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
