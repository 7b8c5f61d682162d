//! What a node is stored as, and what is made of what others stored.

use std::{collections::BTreeSet, sync::Arc};

use micro_registry::{Host, Idempotency, Method};
use proptest::prelude::*;
use serde_json::{Value, json, value::RawValue};

use super::*;

const TTL: Duration = Duration::from_secs(30);

fn builder(service: &str, id: &str) -> micro_registry::NodeBuilder {
    Node::builder(service.parse().unwrap(), id, "10.0.0.7:50051".parse().unwrap())
}

/// What Consul lists of what was sent.
fn listed(registration: &[u8]) -> Value {
    let sent: Value = serde_json::from_slice(registration).unwrap();
    let service = json!({
        "ID": sent["ID"], "Service": sent["Name"], "Tags": sent["Tags"], "Meta": sent["Meta"],
        "Address": sent["Address"], "Port": sent["Port"], "Weights": {"Passing": 1}, "ModifyIndex": 7,
    });
    json!({"Node": {"Node": "host-1", "Address": "127.0.0.1"}, "Service": service, "Checks": []})
}

fn read(entry: &Value) -> Result<Node> {
    let raw = RawValue::from_string(entry.to_string()).unwrap();
    let entry = Entry::read(&raw)?;
    entry.service.node(&entry.node)
}

/// A service that another program stored.
fn foreign(service: &Value) -> Result<Node> {
    read(&json!({"Node": {"Node": "host-1", "Address": "10.0.0.1"}, "Service": service}))
}

fn there_and_back(node: &Node) -> Node {
    read(&listed(&registration(node, TTL, &Extras::default()).unwrap())).unwrap()
}

fn packed(kind: Kind, text: &str) -> String {
    tag::write(kind, text.as_bytes())
}

#[test]
fn a_node_is_stored_as_go_micro_stores_it() {
    let node = builder("greeter", "greeter-4f9f8e6c")
        .version("1.0.0")
        .metadata("protocol", "grpc")
        .methods([Method::new("greeter.Greeter", "Hello")])
        .build()
        .unwrap();
    let extras = Extras {
        tags: vec!["blue".to_owned()],
        connect_native: true,
        ..Extras::default()
    };
    let sent: Value = serde_json::from_slice(&registration(&node, TTL, &extras).unwrap()).unwrap();
    let endpoint = r#"{"request":null,"response":null,"metadata":{},"name":"Greeter.Hello"}"#;
    let expected = json!({
        "ID": "greeter-4f9f8e6c",
        "Name": "greeter",
        "Address": "10.0.0.7",
        "Port": 50051,
        "Tags": [
            packed(Kind::Version, "1.0.0"),
            packed(Kind::Metadata, r#"{"protocol":"grpc"}"#),
            packed(Kind::Endpoint, endpoint),
            "blue",
        ],
        "Meta": {"micro-id": "greeter-4f9f8e6c", "protocol": "grpc"},
        "Check": {"TTL": "30000ms", "Status": "passing", "DeregisterCriticalServiceAfter": "60000ms"},
        "Connect": {"Native": true},
    });
    assert_eq!(sent, expected);
}

#[test]
fn what_go_micro_stored_is_a_node() {
    let node = foreign(&json!({
        "ID": "greeter-4f9f8e6c",
        "Service": "greeter",
        "Tags": [
            "v-789c32d433d03300040000ffff02ce00ee",
            "t-789caa562a28ca2fc94fcecf51b2524a2f2a4856aa05040000ffff468306d9",
            "t-789caa562a4a4dcf2c2e29aa54b2524acecf2b2ecd51aa05040000ffff560f07c8",
            "e-789c8c8d410a02311004ffd2e7e003f2013d7b150f019b459864d7998920217f17640dbb78f1d45054530dca47a539624349998838af24c05fcb1e3c93541ae265c89f19a6b9decbb4114b15e9d71ea0b4652ec65d67459bd020bfa56cd33fa14c4fb7e409b1f5f0fd1e9574eae1449119fd1d0000ffff2aca537b",
        ],
        "Address": "10.0.0.7",
        "Port": 50051,
        "Meta": null,
    }));
    let mut hello = Method::new("greeter.Greeter", "Hello");
    (hello.request, hello.response) = ("Request".into(), "Response".into());
    let expected = builder("greeter", "greeter-4f9f8e6c")
        .version("1.0.0")
        .metadata("protocol", "grpc")
        .metadata("registry", "consul")
        .methods([hello])
        .build();
    assert_eq!(node.unwrap(), expected.unwrap());
}

#[test]
fn what_very_old_versions_of_go_micro_stored_is_a_node() {
    let node = foreign(&json!({
        "ID": "greeter-4f9f8e6c",
        "Service": "greeter",
        "Tags": ["t={\"protocol\":\"grpc\"}", "e={\"name\":\"Greeter.Hello\"}", "v=1.0.0"],
        "Address": "10.0.0.7",
        "Port": 50051,
    }));
    let expected = builder("greeter", "greeter-4f9f8e6c")
        .version("1.0.0")
        .metadata("protocol", "grpc")
        .methods([Method::new("greeter.Greeter", "Hello")])
        .build();
    assert_eq!(node.unwrap(), expected.unwrap());
}

#[test]
fn what_other_tools_stored_is_a_node_of_its_agent() {
    let node = foreign(
        &json!({"ID": "web", "Service": "web", "Port": 80, "Address": "", "Tags": ["v-2", "t=blue"],
        "Meta": {"version": "3", "zone": "a"}, "ModifyIndex": 1}),
    );
    let expected = Node::builder(
        "web".parse().unwrap(),
        "web@host-1",
        "10.0.0.1:80".parse().unwrap(),
    )
    .version("3")
    .metadata("version", "3")
    .metadata("zone", "a")
    .build();
    assert_eq!(node.unwrap(), expected.unwrap());
}

#[test]
fn what_no_node_can_be_made_of_is_refused() {
    let bomb = packed(Kind::Metadata, &" ".repeat(FACTS_LENGTH_MAX + 1));
    for change in [
        json!({"Port": 0}),
        json!({"Port": 70_000}),
        json!({"Port": "80"}),
        json!({"Address": "0.0.0.0"}),
        json!({"Address": "http://10.0.0.7/"}),
        json!({"ID": "a b"}),
        json!({"Service": "../agent"}),
        json!({"Tags": "blue"}),
        json!({"Tags": [packed(Kind::Metadata, "[1]")]}),
        json!({"Tags": [bomb]}),
        json!({"Meta": {"micro-id": "a\u{0}b"}}),
        json!({"Meta": {"zone": "a\u{0}b"}}),
        json!({"Meta": {"zone": "x".repeat(3 * 1024 * 1024)}}),
    ] {
        let mut service = json!({"ID": "a", "Service": "web", "Port": 80, "Address": "10.0.0.7"});
        assert!(foreign(&service).is_ok());
        service
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        let shown = change.to_string().chars().take(100).collect::<String>();
        assert!(foreign(&service).is_err(), "{shown}");
    }
}

#[test]
fn an_endpoint_that_cannot_be_read_hides_no_node() {
    let tags = [packed(Kind::Endpoint, "no endpoint"), packed(Kind::Version, "2")];
    let node =
        foreign(&json!({"ID": "a", "Service": "web", "Port": 80, "Address": "10.0.0.7", "Tags": tags}))
            .unwrap();
    assert_eq!((node.version(), node.methods().len()), ("2", 0));
}

#[test]
fn consuls_own_metadata_has_what_it_has_room_for_and_the_tags_have_all() {
    let long = "x".repeat(META_VALUE_LENGTH_MAX + 1);
    let mut node = builder("greeter", "a/b")
        .boot("boot-1")
        .metadata("a.b", "1")
        .metadata("long", &long)
        .metadata("consul-x", "1")
        .metadata("micro-id", "mine");
    for number in 0..100 {
        node = node.metadata(format!("key-{number}"), "1");
    }
    let node = node.build().unwrap();
    let sent: Value = serde_json::from_slice(&registration(&node, TTL, &Extras::default()).unwrap()).unwrap();
    let meta = sent["Meta"].as_object().unwrap();
    assert_eq!(meta.len(), META_PAIRS_MAX);
    assert_eq!(
        (&meta["micro-id"], &meta["micro-boot"]),
        (&json!("a/b"), &json!("boot-1"))
    );
    assert!(
        ["a.b", "long", "consul-x"]
            .iter()
            .all(|key| !meta.contains_key(*key))
    );
    assert_eq!(there_and_back(&node), node);
}

#[test]
fn a_node_that_is_too_large_says_so() {
    let node = (0..256).fold(builder("greeter", "a"), |node, number| {
        // Nothing that compresses.
        let noise: String = (0..2_000).map(|_| fastrand::alphanumeric()).collect();
        node.metadata(format!("key-{number}"), noise)
    });
    let error = registration(&node.build().unwrap(), TTL, &Extras::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("use less metadata"), "{error}");
}

#[test]
fn consuls_ids_are_told_apart_without_case_and_across_services() {
    let all = [
        ("greeter", "greeter-1"),
        ("greeter", "Greeter-1"),
        ("Greeter", "greeter-1"),
        ("greeter", "greeter-v2-1"),
        ("greeter-v2", "greeter-v2-1"),
        ("greeter-v2", "1"),
        ("greeter", "v2-1"),
        ("greeter", "greeter"),
        ("greeter", "greeter-"),
        ("greeter", "a/b"),
        ("greeter", "a~2fb"),
        ("greeter", "a:b"),
        ("a", "a:a-b"),
    ];
    let ids: BTreeSet<_> = all
        .iter()
        .map(|(service, id)| consul_id(&service.parse().unwrap(), id))
        .inspect(|id| assert_eq!(*id, id.to_lowercase()))
        .collect();
    assert_eq!(ids.len(), all.len(), "{ids:?}");
    assert_eq!(
        consul_id(&"greeter".parse().unwrap(), "greeter-4f9f8e6c"),
        "greeter-4f9f8e6c"
    );
    assert_eq!(
        consul_id(&"greeter".parse().unwrap(), "a/\u{e9}"),
        "greeter:a~2f~c3~a9"
    );
}

#[test]
fn an_address_that_means_another_host_on_each_comes_with_that_of_its_agent() {
    for (agent, address, origin) in [
        ("10.0.0.1", "127.0.0.1", Some("10.0.0.1")),
        ("10.0.0.1", "127.8.8.8", Some("10.0.0.1")),
        ("10.0.0.1", "::1", Some("10.0.0.1")),
        ("10.0.0.1", "::ffff:127.0.0.1", Some("10.0.0.1")),
        ("10.0.0.1", "localhost", Some("10.0.0.1")),
        ("2001:db8::1", "127.0.0.1", Some("2001:db8::1")),
        ("Host-1.internal", "127.0.0.1", Some("host-1.internal")),
        // It may turn out to be loopback.
        ("10.0.0.1", "web.internal", Some("10.0.0.1")),
        // One address is the same wherever it is read.
        ("10.0.0.1", "10.0.0.7", None),
        ("10.0.0.1", "", None),
        ("web.internal", "", None),
        ("web.internal", "web.internal", None),
        // An agent on loopback tells nothing, nor does what is no address.
        ("127.0.0.1", "127.0.0.1", None),
        ("localhost", "127.0.0.1", None),
        ("", "127.0.0.1", None),
        ("0.0.0.0", "127.0.0.1", None),
        ("a b", "127.0.0.1", None),
    ] {
        let node = read(&json!({
            "Node": {"Node": "host-1", "Address": agent},
            "Service": {"ID": "web", "Service": "web", "Port": 80, "Address": address},
        }));
        let found = node.unwrap().origin().map(ToString::to_string);
        assert_eq!(found.as_deref(), origin, "{address:?} at {agent:?}");
    }
}

#[test]
fn a_tag_of_a_users_is_not_taken_for_a_fact() {
    for tag in ["", "v-2", "t=a", "e-", "a\nb"] {
        assert!(check_tag(tag).is_err(), "{tag}");
    }
    for tag in ["blue", "v2", "traefik.enable=true", "é"] {
        check_tag(tag).unwrap();
    }
}

fn hosts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
        any::<[u16; 8]>().prop_map(|ip| format!("[{}]", std::net::Ipv6Addr::from(ip))),
        "[a-z][a-z0-9-]{0,10}(\\.[a-z]{1,5}){0,2}",
    ]
}

fn methods() -> impl Strategy<Value = Method> {
    let idempotency = prop::sample::select(vec![
        Idempotency::Unknown,
        Idempotency::Idempotent,
        Idempotency::NoSideEffects,
    ]);
    let names = prop::array::uniform4("[a-zA-Z0-9_.é\"<]{0,12}");
    (names, any::<[bool; 2]>(), idempotency).prop_map(|(names, streaming, idempotency)| {
        let [service, name, request, response] = names;
        let mut method = Method::new(service, name);
        (method.request, method.response) = (request, response);
        [method.client_streaming, method.server_streaming] = streaming;
        method.idempotency = idempotency;
        method
    })
}

prop_compose! {
    /// Any node that there can be.
    fn nodes()(
        service in "[a-zA-Z0-9]([a-zA-Z0-9._-]{0,20}[a-zA-Z0-9])?",
        id in "[^\\s\\p{Cc}]{1,40}",
        version in "\\PC{0,20}",
        boot in "\\PC{0,20}",
        host in hosts(),
        port in 1..=u16::MAX,
        metadata in prop::collection::btree_map("\\PC{1,20}", "[^\u{0}]{0,100}", 0..10),
        methods in prop::collection::vec(methods(), 0..5),
    ) -> Option<Node> {
        let address = format!("{host}:{port}").parse().ok()?;
        let node = Node::builder(service.parse().ok()?, id, address).version(version).boot(boot);
        let node = metadata.into_iter().fold(node, |node, (key, value)| node.metadata(key, value));
        node.methods(methods).build().ok()
    }
}

proptest! {
    #[test]
    fn every_node_comes_back(node in nodes()) {
        if let Some(node) = node {
            prop_assert_eq!(there_and_back(&node), node);
        }
    }

    #[test]
    fn consuls_ids_have_no_mark_that_ends_a_text_in_a_filter_or_a_part_of_a_path(id in "\\PC{1,40}") {
        let id = consul_id(&"greeter".parse().unwrap(), &id);
        let is_plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':');
        prop_assert!(id.bytes().all(is_plain), "{}", id);
    }

    #[test]
    fn nothing_that_stands_in_consul_makes_reading_panic(
        id in "\\PC{0,20}", address in "\\PC{0,20}", port in any::<i64>(),
        tags in prop::collection::vec("([vte][-=])?(78(01|5e|9c|da))?([0-9a-f]{0,60}|\\PC{0,20})", 0..6),
        meta in prop::collection::btree_map("\\PC{0,10}", "\\PC{0,10}", 0..4),
    ) {
        let _ = foreign(&json!({"ID": id, "Service": "web", "Address": address, "Port": port, "Tags": tags, "Meta": meta}));
    }

    #[test]
    fn no_text_makes_reading_an_entry_panic(text in "\\PC{0,200}") {
        if let Ok(raw) = RawValue::from_string(text) {
            let _ = Entry::read(&raw).and_then(|entry| entry.service.node(&entry.node));
        }
    }
}

#[test]
fn hosts_come_back_as_they_are() {
    for (address, host) in [
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("Orders.internal:80", "orders.internal"),
    ] {
        let node = Node::builder("web".parse().unwrap(), "a", address.parse().unwrap())
            .build()
            .unwrap();
        let back = Arc::new(there_and_back(&node));
        assert!(matches!(back.address().host(), Host::Ip(_) | Host::Name(_)));
        assert_eq!(back.address().host().to_string(), host);
    }
}
