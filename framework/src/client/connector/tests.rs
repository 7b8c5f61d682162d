//! What is connected to, by a resolver that says something else each time it is asked.

use std::{collections::VecDeque, net::TcpListener, sync::Mutex};

use super::*;

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
}

fn tcp(deny: &[&str], registry: &[&str], resolver: impl Resolve) -> Tcp {
    let reach = Reach {
        allow: Vec::new(),
        deny: deny.iter().map(|text| text.parse().unwrap()).collect(),
        registry: registry.iter().map(|text| text.parse().unwrap()).collect(),
    };
    Tcp {
        gate: Arc::new(Gate::new(reach, "test", resolver)),
    }
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

async fn refusal(tcp: &Tcp, address: &str) -> String {
    let error = tcp
        .connect(&address.parse().unwrap())
        .await
        .err()
        .expect("it is refused");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
    error.to_string()
}

#[tokio::test]
async fn an_address_in_a_denied_range_is_not_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    let address = format!("127.0.0.1:{port}");
    let denying = tcp(&["loopback"], &[], System);
    let message = refusal(&denying, &address).await;
    assert_eq!(
        message,
        "not called: 127.0.0.1 is in loopback, which `client.deny` has"
    );
    assert!(!was_called(&listener));
    tcp(&[], &[], System)
        .connect(&address.parse().unwrap())
        .await
        .unwrap();
    assert!(was_called(&listener));
}

#[tokio::test]
async fn a_name_that_turns_to_a_denied_address_is_not_connected_to_any_more() {
    let (good, port) = listen("127.0.0.1", 0);
    let (bad, _) = listen("127.0.0.2", port);
    let tcp = tcp(
        &["127.0.0.2"],
        &[],
        Says::these(&[&["127.0.0.1"], &["127.0.0.2"], &["127.0.0.1"]]),
    );
    let address = format!("greeter.internal:{port}");
    tcp.connect(&address.parse().unwrap()).await.unwrap();
    assert!(was_called(&good));
    let message = refusal(&tcp, &address).await;
    assert!(message.contains("127.0.0.2 is in 127.0.0.2"), "{message}");
    assert!(!was_called(&bad));
    tcp.connect(&address.parse().unwrap()).await.unwrap();
    assert!(was_called(&good));
}

#[tokio::test]
async fn one_question_decides_what_is_checked_and_what_is_connected_to() {
    let (good, port) = listen("127.0.0.1", 0);
    let (bad, _) = listen("127.0.0.2", port);
    // A second question, as a check followed by a connect by name would ask, is answered otherwise.
    let tcp = tcp(
        &["127.0.0.2"],
        &[],
        Says::these(&[&["127.0.0.1"], &["127.0.0.2"]]),
    );
    tcp.connect(&format!("greeter.internal:{port}").parse().unwrap())
        .await
        .unwrap();
    assert!(was_called(&good) && !was_called(&bad));
}

#[tokio::test]
async fn of_several_addresses_the_denied_ones_are_passed_over() {
    let (good, port) = listen("127.0.0.1", 0);
    let tcp = tcp(&[], &[], Says::these(&[&["169.254.169.254", "127.0.0.1"]]));
    tcp.connect(&format!("greeter.internal:{port}").parse().unwrap())
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
        let tcp = tcp(&[], &[&at(own)], Says::these(&[&["127.0.0.1"]]));
        let message = refusal(&tcp, &at(node)).await;
        assert_eq!(
            message,
            format!("not called: the registry itself is at {own}:{port}")
        );
    }
    let by_name = tcp(&[], &[&at("127.0.0.1")], Says::these(&[&["127.0.0.1"]]));
    refusal(&by_name, &at("greeter.internal")).await;
    assert!(!was_called(&registry));
}

#[tokio::test]
async fn a_name_without_an_address_says_so() {
    let tcp = tcp(&[], &[], Says::these(&[&[]]));
    let error = tcp
        .connect(&"greeter.internal:80".parse().unwrap())
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
    let own = Arc::new(tcp(&[], &[], System));
    let checked = Checked::new(own, reach, "test");
    let refused = checked
        .connect(&format!("127.0.0.1:{port}").parse().unwrap())
        .await;
    assert_eq!(refused.err().unwrap().kind(), io::ErrorKind::PermissionDenied);
    assert!(!was_called(&listener));
}
