//! A gateway connects to nodes of exported services, and to nothing else that requests or registries name.

use std::{
    collections::BTreeSet,
    io,
    net::TcpListener,
    sync::{Arc, Mutex},
};

use http::Request;
use micro::{
    Client, Connect, Connecting, Io,
    registry::{Address, Memory, Node, Registry, Static},
};
use micro_dynamic::fake::{Fake, Reflection};
use tokio::{net::TcpStream, time::Duration};

use super::{
    browser::{BINARY, order, status},
    served::Served,
    support::{Shop, send},
};
use crate::{Gateway, Settings};

const TTL: Duration = Duration::from_secs(600);
const ADA: &str = r#"{"name":"Ada"}"#;
/// Where clouds hand out credentials to whoever asks.
const METADATA: [&str; 4] = [
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "[::ffff:169.254.169.254]:80",
    "100.100.100.200:80",
];

/// Notes which addresses are connected to, and connects to loopback alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Noted(Arc<Mutex<BTreeSet<String>>>);

impl Noted {
    pub(super) fn addresses(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().cloned().collect()
    }

    /// A gateway that connects by this.
    pub(super) fn gateway(&self, registry: Arc<dyn Registry>, settings: Settings) -> Gateway {
        let client = Client::builder(registry).connector(self.clone()).build().unwrap();
        Gateway::new(&client, settings)
    }
}

impl Connect for Noted {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.to_string();
        self.0.lock().unwrap().insert(address.clone());
        Box::pin(async move {
            if !address.starts_with("127.") {
                return Err(io::Error::other("that is not on this machine"));
            }
            Ok(Box::new(TcpStream::connect(address).await?) as Box<dyn Io>)
        })
    }
}

async fn register(registry: &Memory, service: &str, id: &str, address: &str) {
    let node = Node::builder(service.parse().unwrap(), id, address.parse().unwrap()).build();
    registry.register(&node.unwrap(), TTL).await.unwrap();
}

#[tokio::test]
async fn a_record_at_an_address_of_metadata_is_not_called() {
    let fake = Fake::start(Reflection::V1).await.unwrap();
    let registry = Arc::new(Memory::default());
    register(&registry, "shop", "good", &fake.address().to_string()).await;
    for (number, address) in METADATA.iter().enumerate() {
        register(&registry, "shop", &format!("bad-{number}"), address).await;
        register(&registry, "cloud", &format!("bad-{number}"), address).await;
    }
    let noted = Noted::default();
    let settings = Settings::exporting(["shop", "cloud"]).unwrap();
    let gateway = noted.gateway(registry, settings);
    for _ in 0..50 {
        let answer = send(&gateway, Request::post("/shop/shop/order"), ADA).await;
        answer.is(200, r#"{"message":"Hello Ada","count":1}"#);
    }
    let request = Request::post("/cloud/latest/meta-data").header("x-request-timeout", "300ms");
    let cloud = send(&gateway, request, "").await;
    assert!(matches!(cloud.status.as_u16(), 503 | 504), "{cloud:?}");
    assert!(
        !cloud.text.contains("254") && !cloud.text.contains("100.100"),
        "{}",
        cloud.text
    );
    assert_eq!(
        send(&gateway, Request::get("/openapi.json"), "").await.status,
        200
    );
    let shop = Shop { fake, gateway };
    assert_eq!(
        status(&shop, "/shop/shop.Shop/Order", order("Ada"), &[]).await,
        "0"
    );
    assert_eq!(noted.addresses(), [shop.fake.address().to_string()]);
}

#[tokio::test]
async fn no_address_that_a_request_names_is_connected_to() {
    let (fake, foreign) = (
        Fake::start(Reflection::V1).await.unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    foreign.set_nonblocking(true).unwrap();
    let at = foreign.local_addr().unwrap();
    // It is a service, too, but not one that may be reached.
    let registry: Static = format!("shop={},inner={at}", fake.address()).parse().unwrap();
    let settings = toml::from_str("export = ['shop']\ndashboard = true").unwrap();
    let gateway = Served::start(Arc::new(registry), settings).await;
    let (http, grpc_web) = ("application/json", BINARY);
    for (target, host, content_type) in [
        (format!("http://{at}/shop/shop/order"), at.to_string(), http),
        (
            format!("http://{at}/shop/shop/order"),
            "localhost".to_owned(),
            http,
        ),
        ("/shop/shop/order".to_owned(), at.to_string(), http),
        (format!("/{at}/shop/order"), "localhost".to_owned(), http),
        (format!("/http://{at}/shop/order"), "localhost".to_owned(), http),
        (format!("//{at}/shop/order"), "localhost".to_owned(), http),
        (format!("/shop@{at}/shop/order"), "localhost".to_owned(), http),
        ("/inner/shop/order".to_owned(), "localhost".to_owned(), http),
        (
            "/inner/shop.Shop/Order".to_owned(),
            "localhost".to_owned(),
            grpc_web,
        ),
        (format!("/{at}/shop.Shop/Order"), "localhost".to_owned(), grpc_web),
        (
            "/dashboard.methods?inner".to_owned(),
            "localhost".to_owned(),
            http,
        ),
        (format!("/dashboard.methods?{at}"), "localhost".to_owned(), http),
    ] {
        for method in ["POST", "GET"] {
            let request = format!(
                "{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
                 x-forwarded-host: {at}\r\nmicro-service: {at}\r\nmicro-address: {at}\r\ncontent-length: 0\r\n\r\n"
            );
            let answer = gateway.exchange(request.as_bytes()).await;
            let reached = answer.contains("Hello");
            let is_shop = target == "/shop/shop/order" || target.starts_with("http:");
            assert!(
                answer.starts_with("HTTP/1.1 ") && (!reached || is_shop),
                "{target}: {answer}"
            );
        }
    }
    let connect = format!("CONNECT {at} HTTP/1.1\r\nhost: {at}\r\nconnection: close\r\n\r\n");
    let answer = gateway.exchange(connect.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // Whoever had connected would wait to be taken.
    assert_eq!(foreign.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(fake.connections(), fake.calls().min(1));
}
