//! What a node is stored as, and what is made of what others stored.

use micro_registry::{Address, Idempotency};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn greeter() -> ServiceName {
    "greeter".parse().unwrap()
}

fn builder(id: &str) -> micro_registry::NodeBuilder {
    Node::builder(greeter(), id, "10.0.0.7:50051".parse().unwrap())
}

/// What is made of `record`, which stands at the place `a`.
fn read(record: impl AsRef<[u8]>) -> Result<Node> {
    decode(&greeter(), "a", record.as_ref())
}

/// A good record, with `changes` made to the service and to its node.
fn changed(service: &Value, node: &Value) -> String {
    let mut record = json!({"name": "greeter", "version": "1"});
    let mut instance = json!({"id": "a", "address": "10.0.0.7:50051"});
    for (target, changes) in [(&mut instance, node), (&mut record, service)] {
        let changes = changes.as_object().unwrap().clone();
        target.as_object_mut().unwrap().extend(changes);
    }
    let record_map = record.as_object_mut().unwrap();
    record_map.entry("nodes").or_insert_with(|| json!([instance]));
    record.to_string()
}

fn there_and_back(node: &Node) -> Node {
    let record = encode(node).unwrap();
    decode(node.service(), &keys::place(node.id()), &record).unwrap()
}

#[test]
fn a_node_is_stored_as_go_micro_stores_it() {
    let pairs = [
        ("broker", "http"),
        ("protocol", "grpc"),
        ("registry", "etcd"),
        ("server", "grpc"),
        ("transport", "grpc"),
    ];
    let node = builder("greeter-4f9f8e6c").version("latest");
    let node = pairs
        .iter()
        .fold(node, |node, (key, value)| node.metadata(*key, *value));
    let node = node.build().unwrap();
    // Golden: what Go Micro itself wrote, byte by byte.
    let golden = r#"{"name":"greeter","version":"latest","metadata":null,"endpoints":[],"nodes":[{"metadata":{"broker":"http","protocol":"grpc","registry":"etcd","server":"grpc","transport":"grpc"},"id":"greeter-4f9f8e6c","address":"10.0.0.7:50051"}]}"#;
    assert_eq!(str::from_utf8(&encode(&node).unwrap()).unwrap(), golden);
    assert_eq!(
        decode(&greeter(), "greeter-4f9f8e6c", golden.as_bytes()).unwrap(),
        node
    );
}

#[test]
fn methods_and_the_boot_stand_where_go_micro_passes_over_them() {
    let mut hello = Method::new("greeter.v1.Greeter", "Hello");
    (hello.request, hello.response) = ("greeter.v1.Request".into(), "greeter.v1.Response".into());
    hello.idempotency = Idempotency::NoSideEffects;
    let mut chat = Method::new("greeter.Greeter", "Chat");
    (chat.client_streaming, chat.server_streaming) = (true, true);
    let node = builder("a")
        .boot("boot-1")
        .methods([hello, chat])
        .build()
        .unwrap();
    let expected = json!({
        "name": "greeter",
        "version": "",
        "metadata": null,
        "endpoints": [
            {
                "request": {"name": "Request", "type": "greeter.v1.Request", "values": null},
                "response": {"name": "Response", "type": "greeter.v1.Response", "values": null},
                "metadata": {"service": "greeter.v1.Greeter", "idempotency": "NO_SIDE_EFFECTS"},
                "name": "Greeter.Hello",
            },
            {
                "request": null,
                "response": null,
                "metadata": {"stream": "true", "client-streaming": "true", "server-streaming": "true"},
                "name": "Greeter.Chat",
            },
        ],
        "nodes": [{"metadata": {"micro-boot": "boot-1"}, "id": "a", "address": "10.0.0.7:50051"}],
    });
    let written: Value = serde_json::from_slice(&encode(&node).unwrap()).unwrap();
    assert_eq!(written, expected);
    assert_eq!(there_and_back(&node), node);
}

#[test]
fn what_go_micro_stored_is_a_node() {
    // Another order of fields, Go's escapes, and an endpoint as Go Micro writes it.
    let record = r#"{"nodes":[{"address":"10.0.0.7:50051","id":"a","metadata":{"note":"\u003ca\u0026b\u003e","none":null}}],
        "endpoints":[{"request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},
        "response":{"name":"Response","type":"Response","values":[{"name":"msg","type":"string","values":null}]},
        "metadata":{},"name":"Greeter.Hello"},{"request":null,"response":null,"metadata":null,"name":"topic"}],
        "metadata":{"team":"a","note":"of all"},"version":"latest","name":"greeter","since":4}"#;
    let mut hello = Method::new("greeter.Greeter", "Hello");
    (hello.request, hello.response) = ("Request".into(), "Response".into());
    let expected = builder("a")
        .version("latest")
        .metadata("team", "a")
        .metadata("note", "<a&b>")
        .metadata("none", "")
        .methods([hello])
        .build();
    assert_eq!(read(record).unwrap(), expected.unwrap());
}

#[test]
fn what_is_missing_or_null_is_taken_from_the_key_or_left_empty() {
    let bare = builder("a").build().unwrap();
    for record in [
        r#"{"nodes":[{"address":"10.0.0.7:50051"}]}"#,
        r#"{"name":null,"version":null,"metadata":null,"endpoints":null,"nodes":[{"metadata":null,"id":null,"address":"10.0.0.7:50051"}]}"#,
        r#"{"name":"","version":"","metadata":{},"endpoints":[],"nodes":[{"metadata":{},"id":"","address":"10.0.0.7:50051"}]}"#,
        " \n{\"nodes\" : [ {\"address\":\"10.0.0.7:50051\"}\t] }\r\n",
    ] {
        assert_eq!(read(record).unwrap(), bare, "{record}");
    }
}

#[test]
fn what_is_no_text_of_a_service_with_one_node_is_refused() {
    let good = changed(&json!({}), &json!({}));
    read(&good).unwrap();
    let node = r#"{"id":"a","address":"10.0.0.7:50051"}"#;
    for record in [
        String::new(),
        "null".into(),
        "1".into(),
        "[]".into(),
        "{}".into(),
        "no JSON".into(),
        good[..good.len() - 1].to_owned(),
        format!("{good}x"),
        format!("\u{feff}{good}"),
        good.replace('a', "\0"),
        // Which of the two would count, programs do not agree on.
        format!(r#"{{"nodes":[{node}],"nodes":[{node}]}}"#),
        r#"{"nodes":[{"id":"a","id":"a","address":"10.0.0.7:50051"}]}"#.into(),
        r#"{"nodes":[{"metadata":{"a":"1","a":"2"},"address":"10.0.0.7:50051"}]}"#.into(),
        format!(r#"{{"nodes":[{node},{node}]}}"#),
        format!(r#"{{"nodes":[{node}],"version":"\ud800"}}"#),
    ] {
        let error = read(&record).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{record}: {error}");
    }
    let mut no_text = good.into_bytes();
    no_text[10] = 0xff;
    assert_eq!(read(&no_text).unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn wrong_types_and_values_are_refused_and_not_shown() {
    let secret = "hunter2";
    for (service, node) in [
        (json!({"name": 1}), json!({})),
        (json!({"version": [secret]}), json!({})),
        (json!({"version": "1\u{7}"}), json!({})),
        (json!({"metadata": secret}), json!({})),
        (json!({"endpoints": {"a": secret}}), json!({})),
        (json!({"nodes": null}), json!({})),
        (json!({"nodes": []}), json!({})),
        (json!({"nodes": {"a": secret}}), json!({})),
        (json!({"nodes": [[secret]]}), json!({})),
        (json!({"name": "greeter-v2"}), json!({})),
        (json!({"name": "Greeter"}), json!({})),
        (json!({}), json!({"id": "b"})),
        (json!({}), json!({"id": 1})),
        (json!({}), json!({"address": null})),
        (json!({}), json!({"address": 80})),
        (json!({}), json!({"address": {"port": secret}})),
        (json!({}), json!({"metadata": [secret]})),
        (json!({}), json!({"metadata": {"password": [secret]}})),
        (
            json!({}),
            json!({"metadata": {"password": format!("{secret}\0")}}),
        ),
        (
            json!({}),
            json!({"metadata": {"password": format!("{secret}{}", "x".repeat(5_000))}}),
        ),
        (json!({}), json!({"metadata": {"": secret}})),
    ] {
        let error = read(changed(&service, &node)).unwrap_err();
        assert!(!format!("{error:?} {error}").contains(secret), "{error:?}");
    }
}

#[test]
fn an_address_that_cannot_be_called_is_refused() {
    for address in [
        "",
        "10.0.0.7",
        "10.0.0.7:",
        "10.0.0.7:0",
        "10.0.0.7:-1",
        "10.0.0.7:70000",
        "0.0.0.0:80",
        "[::]:80",
        "224.0.0.1:80",
        "255.255.255.255:80",
        "[fe80::1%eth0]:80",
        "2001:db8::1:80",
        "http://10.0.0.7:80",
        "unix:///run/a.sock",
        "a b:80",
        "a\r\nb:80",
    ] {
        let record = changed(&json!({}), &json!({"address": address}));
        assert!(read(&record).is_err(), "{address}");
    }
    for address in ["10.0.0.7:80", "[2001:db8::1]:80", "orders.internal:80"] {
        let node = read(changed(&json!({}), &json!({"address": address}))).unwrap();
        assert_eq!(node.address().to_string(), address);
    }
}

#[test]
fn an_id_stands_at_its_own_key_alone() {
    let record = |id: &str| changed(&json!({}), &json!({"id": id}));
    assert_eq!(
        decode(&greeter(), "b-c", record("b/c").as_bytes()).unwrap().id(),
        "b/c"
    );
    for (place, id) in [("b", "a"), ("b-c", "b.c"), ("B", "b")] {
        let error = decode(&greeter(), place, record(id).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("another node"), "{error}");
    }
    assert!(decode(&greeter(), "..", record("..").as_bytes()).is_err());
    assert!(decode(&greeter(), "a b", br#"{"nodes":[{"address":"10.0.0.7:80"}]}"#).is_err());
}

#[test]
fn an_endpoint_that_cannot_be_read_hides_no_node() {
    let long = "x".repeat(ENDPOINT_LENGTH_MAX);
    let endpoints = json!([
        null, 1, "a", [], {}, {"name": 1}, {"name": null}, {"name": "topic"}, {"name": "A.B", "metadata": []},
        {"name": long}, {"name": "Greeter.Hello"},
    ]);
    let node = read(changed(&json!({"endpoints": endpoints}), &json!({}))).unwrap();
    assert_eq!(node.methods(), [Method::new("greeter.Greeter", "Hello")]);
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    for (record, is_good) in [
        (deep.clone(), false),
        (format!(r#"{{"nodes":{deep}}}"#), false),
        (format!(r#"{{"metadata":{deep}}}"#), false),
        (format!(r#"{{"metadata":{{"a":{deep}}}}}"#), false),
        // Nobody asks what stands there.
        (
            format!(r#"{{"x":{deep},"nodes":[{{"address":"10.0.0.7:80"}}]}}"#),
            true,
        ),
        (
            format!(r#"{{"endpoints":[{deep}],"nodes":[{{"address":"10.0.0.7:80"}}]}}"#),
            true,
        ),
    ] {
        assert_eq!(read(&record).is_ok(), is_good, "{}", &record[..20]);
    }
}

#[test]
fn what_is_longer_than_etcd_takes_is_neither_written_nor_read() {
    let longest = changed(&json!({}), &json!({}));
    let longest = format!("{longest}{}", " ".repeat(RECORD_LENGTH_MAX - longest.len()));
    read(&longest).unwrap();
    let error = read(format!("{longest} ")).unwrap_err();
    assert!(error.to_string().contains("1500001 bytes"), "{error}");
    assert!(read("x".repeat(3 * 1024 * 1024)).is_err());
    let large = (0..256).fold(builder("a"), |node, number| {
        node.metadata(format!("key-{number}"), "\u{1}".repeat(4_000))
    });
    let error = encode(&large.build().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("use less metadata"), "{error}");
}

#[test]
fn lists_and_maps_take_no_more_than_a_node_may_have() {
    let endpoints = vec![json!({}); ENDPOINTS_MAX + 1];
    assert!(read(changed(&json!({"endpoints": endpoints[1..]}), &json!({}))).is_ok());
    assert!(read(changed(&json!({"endpoints": endpoints}), &json!({}))).is_err());
    let pairs = |count: usize| -> Value {
        (0..count)
            .map(|number| (number.to_string(), json!("")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    assert!(read(changed(&json!({}), &json!({"metadata": pairs(256)}))).is_ok());
    assert!(read(changed(&json!({}), &json!({"metadata": pairs(257)}))).is_err());
    assert!(read(changed(&json!({}), &json!({"metadata": pairs(100_000)}))).is_err());
    assert!(read(changed(&json!({"nodes": vec![json!({}); 400_000]}), &json!({}))).is_err());
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
    let names = prop::array::uniform4("[a-zA-Z0-9_.\u{e9}\"<]{0,12}");
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
        let address: Address = format!("{host}:{port}").parse().ok()?;
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
    fn no_bytes_make_reading_panic(place in "\\PC{0,10}", record in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&greeter(), &place, &record);
    }

    #[test]
    fn nothing_like_a_record_makes_reading_panic(
        name in "\\PC{0,10}", id in "\\PC{0,10}", address in "\\PC{0,20}|[0-9.]{1,16}:[0-9]{1,6}",
        text in "[\\[\\]{},:\"a0nul\\\\ -]{0,60}", at in 0_usize..200,
    ) {
        let node = json!({"id": id, "address": address, "metadata": {"a": name}});
        let mut record = json!({"name": name, "endpoints": [{"name": id}], "nodes": [node]}).to_string();
        let _ = decode(&greeter(), &id, record.as_bytes());
        let at = (0..=at.min(record.len())).rev().find(|at| record.is_char_boundary(*at)).unwrap();
        record.insert_str(at, &text);
        let _ = decode(&greeter(), &id, record.as_bytes());
    }
}
