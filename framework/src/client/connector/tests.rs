//! What is connected to, by a resolver that says something else each time it is asked.

mod whose;

use std::{
    collections::VecDeque,
    net::{IpAddr, TcpListener},
    sync::Mutex,
};

use super::{
    gate::{Resolve, Resolving},
    *,
};

/// Answers one list after the other, and then the last again.
#[derive(Debug)]
struct Says(Mutex<VecDeque<Vec<IpAddr>>>);

impl Says {
    fn these(lists: &[&[&str]]) -> Self {
        let lists = lists
            .iter()
            .map(|list| list.iter().map(|ip| ip.parse().unwrap()).collect());
        Self(Mutex::new(lists.collect()))
    }
}

impl Resolve for Says {
    fn resolve(&self, _name: &str) -> Resolving {
        let mut lists = self.0.lock().unwrap();
        let list = if lists.len() > 1 {
            lists.pop_front()
        } else {
            lists.front().cloned()
        };
        Box::pin(async move { Ok(list.unwrap()) })
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        Ok(Vec::new())
    }
}

/// Connects as all clients do, which it leaves to the system.
#[derive(Debug)]
struct Plain;

impl Connect for Plain {
    fn connect(&self, address: &Address) -> Connecting {
        let address = address.socket_addr().unwrap();
        Box::pin(tcp(vec![address]))
    }
}

fn connector(deny: &[&str], registry: &[&str], resolver: impl Resolve) -> Connector {
    let reach = Reach {
        deny: deny.iter().map(|text| text.parse().unwrap()).collect(),
        registry: registry.iter().map(|text| text.parse().unwrap()).collect(),
        ..Reach::default()
    };
    Connector {
        gate: Gate::new(reach, "test", resolver),
        other: None,
    }
}

fn node(address: &str) -> Node {
    let node = Node::builder("greeter".parse().unwrap(), "a", address.parse().unwrap());
    node.build().unwrap()
}

/// A listener at an address of loopback, and its port.
fn listen(ip: &str, port: u16) -> (TcpListener, u16) {
    let listener = TcpListener::bind((ip, port)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Whether anybody has connected: the kernel has a connection of this host in the queue as soon as it was made.
fn was_called(listener: &TcpListener) -> bool {
    listener.accept().is_ok()
}

async fn refusal(connector: &Connector, address: &str) -> String {
    refusal_of(connector, &node(address)).await
}

async fn refusal_of(connector: &Connector, node: &Node) -> String {
    let error = connector.connect(node).await.err().expect("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    error.to_string()
}

#[tokio::test]
async fn an_address_in_a_denied_range_is_not_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    let address = format!("127.0.0.1:{port}");
    let denying = connector(&["loopback"], &[], System);
    let message = refusal(&denying, &address).await;
    assert_eq!(
        message,
        "not called: 127.0.0.1 is in loopback, which `client.deny` has"
    );
    assert!(!was_called(&listener));
    connector(&[], &[], System)
        .connect(&node(&address))
        .await
        .unwrap();
    assert!(was_called(&listener));
}

#[tokio::test]
async fn a_name_that_turns_to_a_denied_address_is_not_connected_to_any_more() {
    let (good, port) = listen("127.0.0.1", 0);
    let (bad, _) = listen("127.0.0.2", port);
    let connector = connector(
        &["127.0.0.2"],
        &[],
        Says::these(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]]),
    );
    let address = format!("greeter.internal:{port}");
    connector.connect(&node(&address)).await.unwrap();
    assert!(was_called(&good));
    let message = refusal(&connector, &address).await;
    assert!(message.contains("127.0.0.2 is in 127.0.0.2"), "{message}");
    assert!(!was_called(&bad));
    connector.connect(&node(&address)).await.unwrap();
    assert!(was_called(&good));
}

#[tokio::test]
async fn one_question_decides_what_is_checked_and_what_is_connected_to() {
    let (good, port) = listen("127.0.0.1", 0);
    let (bad, _) = listen("127.0.0.2", port);
    // A second question, as a check followed by a connect by name would ask, is answered otherwise.
    let connector = connector(
        &["127.0.0.2"],
        &[],
        Says::these(&[&["127.0.0.1"], &["127.0.0.2"]]),
    );
    connector
        .connect(&node(&format!("greeter.internal:{port}")))
        .await
        .unwrap();
    assert!(was_called(&good) && !was_called(&bad));
}

#[tokio::test]
async fn of_several_addresses_the_denied_ones_are_passed_over() {
    let (good, port) = listen("127.0.0.1", 0);
    let connector = connector(&[], &[], Says::these(&[&["169.254.169.254", "127.0.0.1"]]));
    connector
        .connect(&node(&format!("greeter.internal:{port}")))
        .await
        .unwrap();
    assert!(was_called(&good));
}

#[tokio::test]
async fn the_registry_itself_is_no_node_by_any_name() {
    let (registry, port) = listen("127.0.0.1", 0);
    let at = |host: &str| format!("{host}:{port}");
    for (own, node) in [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.9"),
        ("consul.internal", "127.0.0.1"),
    ] {
        let connector = connector(&[], &[&at(own)], Says::these(&[&["127.0.0.1"]]));
        let message = refusal(&connector, &at(node)).await;
        assert_eq!(
            message,
            format!("not called: the registry itself is at {own}:{port}")
        );
    }
    let by_name = connector(&[], &[&at("127.0.0.1")], Says::these(&[&["127.0.0.1"]]));
    refusal(&by_name, &at("greeter.internal")).await;
    assert!(!was_called(&registry));
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let connector = connector(&[], &[], Says::these(&[&[]]));
    let error = connector
        .connect(&node("greeter.internal:80"))
        .await
        .err()
        .unwrap();
    assert_eq!(error.to_string(), "the name has no address");
}

#[tokio::test]
async fn a_connector_of_ones_own_is_asked_for_no_denied_address() {
    let (listener, port) = listen("127.0.0.1", 0);
    let reach = Reach {
        deny: vec!["loopback".parse().unwrap()],
        ..Reach::default()
    };
    let address = format!("127.0.0.1:{port}");
    let checked = Connector::new(Some(Arc::new(Plain)), reach, "test");
    refusal(&checked, &address).await;
    assert!(!was_called(&listener));
    let unchecked = Connector::new(Some(Arc::new(Plain)), Reach::default(), "test");
    unchecked.connect(&node(&address)).await.unwrap();
    assert!(was_called(&listener));
}
