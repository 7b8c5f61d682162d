//! Loopback addresses in records of other hosts: 0 connections reach what listens here.

use super::*;

/// A host that has 10.0.0.7, in a network with some names.
#[derive(Debug)]
struct Host;

impl Resolve for Host {
    fn resolve(&self, name: &str) -> Resolving {
        let ip = match name {
            "localhost" | "rebound.example" => "127.0.0.1",
            "here.internal" => "10.0.0.7",
            "consul.internal" => "10.0.0.8",
            other => panic!("asked for {other}"),
        };
        Box::pin(async move { Ok(vec![ip.parse().unwrap()]) })
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        Ok(["127.0.0.1", "::1", "10.0.0.7", "2001:db8::7"]
            .map(|ip| ip.parse().unwrap())
            .into())
    }
}

fn with(allow: &[&str], registry: &[&str]) -> Connector {
    let reach = Reach {
        allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
        registry: registry.iter().map(|text| text.parse().unwrap()).collect(),
        ..Reach::default()
    };
    Connector {
        gate: Gate::new(reach, "test", Host),
        other: None,
    }
}

/// A node that the registry holds on another host than its own.
fn held_at(origin: &str, address: &str) -> Node {
    let origin: Address = format!("{origin}:1").parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "a", address.parse().unwrap());
    node.origin(origin.host().clone()).build().unwrap()
}

#[tokio::test]
async fn loopback_from_a_registry_on_another_host_is_not_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    for (registry, host) in [
        (&["10.0.0.8:8500"][..], "10.0.0.8"),
        (&["consul.internal:8500"], "consul.internal"),
        (&["10.0.0.8:2379", "10.0.0.9:2379"], "10.0.0.8"),
        (&["[2001:db8::8]:2379"], "2001:db8::8"),
    ] {
        let remote = with(&[], registry);
        for address in ["127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "rebound.example"] {
            let message = refusal(&remote, &format!("{address}:{port}")).await;
            assert_eq!(
                message,
                format!(
                    "not called: 127.0.0.1 is a loopback address, and the registry, at {host}, is not on this host; \
                     if the node is on this host, let it advertise another address (MICRO_SERVER_ADVERTISE) or set \
                     `client.own_loopback` (MICRO_CLIENT_OWN_LOOPBACK=true)"
                )
            );
        }
    }
    assert!(!was_called(&listener));
}

#[tokio::test]
async fn loopback_from_a_registry_on_this_host_is_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    for registry in [
        &[][..],
        &["127.0.0.1:1"],
        &["[::1]:1"],
        &["localhost:1"],
        &["10.0.0.7:1"],
        &["[::ffff:10.0.0.7]:1"],
        &["[2001:db8::7]:1"],
        &["here.internal:1"],
        // One of a cluster.
        &["10.0.0.8:1", "10.0.0.7:1"],
    ] {
        let local = with(&[], registry);
        local.connect(&node(&format!("127.0.0.1:{port}"))).await.unwrap();
        assert!(was_called(&listener), "{registry:?}");
    }
}

#[tokio::test]
async fn loopback_that_is_allowed_is_connected_to_wherever_the_registry_is() {
    let (listener, port) = listen("127.0.0.1", 0);
    let address = format!("127.0.0.1:{port}");
    for allow in ["loopback", "127.0.0.0/8", "127.0.0.1"] {
        let allowing = with(&[allow], &["10.0.0.8:8500"]);
        allowing.connect(&node(&address)).await.unwrap();
        assert!(was_called(&listener), "{allow}");
        allowing.connect(&held_at("10.0.0.9", &address)).await.unwrap();
        assert!(was_called(&listener), "{allow}");
    }
    for allow in ["0.0.0.0/0", "10.0.0.0/8", "127.0.0.2"] {
        refusal(&with(&[allow], &["10.0.0.8:8500"]), &address).await;
    }
    assert!(!was_called(&listener));
}

#[tokio::test]
async fn loopback_that_is_said_to_be_this_hosts_is_connected_to_unless_it_is_denied_or_not_allowed() {
    let (listener, port) = listen("127.0.0.1", 0);
    let own = |allow: &[&str], deny: &[&str]| {
        let ranges = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        let reach = Reach {
            allow: ranges(allow),
            deny: ranges(deny),
            registry: vec!["10.0.0.8:8500".parse().unwrap()],
            own_loopback: true,
        };
        Connector {
            gate: Gate::new(reach, "test", Host),
            other: None,
        }
    };
    let node = held_at("10.0.0.9", &format!("127.0.0.1:{port}"));
    own(&[], &[]).connect(&node).await.unwrap();
    assert!(was_called(&listener));
    for (allow, deny) in [(&["10.0.0.0/8"][..], &[][..]), (&[], &["loopback"])] {
        refusal_of(&own(allow, deny), &node).await;
    }
    assert!(!was_called(&listener));
}

#[tokio::test]
async fn loopback_that_the_registry_holds_on_another_host_is_not_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    // The agent is here, and hands out what stands at all of them.
    for registry in [&["127.0.0.1:8500"][..], &["10.0.0.7:8500"], &[]] {
        let local = with(&[], registry);
        for address in ["127.0.0.1", "rebound.example"] {
            let address = format!("{address}:{port}");
            let message = refusal_of(&local, &held_at("10.0.0.9", &address)).await;
            assert!(
                message.starts_with(
                    "not called: 127.0.0.1 is a loopback address, and the record is of another host, 10.0.0.9; if "
                ),
                "{message}"
            );
            refusal_of(&local, &held_at("consul.internal", &address)).await;
        }
    }
    assert!(!was_called(&listener));
}

#[tokio::test]
async fn loopback_that_the_registry_holds_on_this_host_is_connected_to_wherever_the_registry_is() {
    let (listener, port) = listen("127.0.0.1", 0);
    let address = format!("127.0.0.1:{port}");
    let remote = with(&[], &["10.0.0.8:8500"]);
    for origin in ["10.0.0.7", "here.internal", "[2001:db8::7]"] {
        remote.connect(&held_at(origin, &address)).await.unwrap();
        assert!(was_called(&listener), "{origin}");
    }
    // Every host is that to itself, so it says nothing.
    refusal_of(&remote, &held_at("127.0.0.1", &address)).await;
    refusal_of(&remote, &held_at("localhost", &address)).await;
    assert!(!was_called(&listener));
}

/// A host that cannot list its interfaces.
#[derive(Debug)]
struct Blind;

impl Resolve for Blind {
    fn resolve(&self, _name: &str) -> Resolving {
        Box::pin(async { Err(io::Error::other("no such name")) })
    }

    fn own(&self) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other("not allowed"))
    }
}

#[tokio::test]
async fn what_is_not_known_to_be_here_is_not_connected_to() {
    let (listener, port) = listen("127.0.0.1", 0);
    let address = format!("127.0.0.1:{port}");
    let message = refusal(&connector(&[], &["10.0.0.8:1"], Blind), &address).await;
    assert_eq!(
        message,
        "not called: the addresses of this host cannot be listed: not allowed"
    );
    let message = refusal(&connector(&[], &["consul.internal:1"], Blind), &address).await;
    assert!(
        message.contains("the registry, at consul.internal, is not on this host"),
        "{message}"
    );
    assert!(!was_called(&listener));
    connector(&[], &["127.0.0.1:1"], Blind)
        .connect(&node(&address))
        .await
        .unwrap();
    assert!(was_called(&listener));
}
