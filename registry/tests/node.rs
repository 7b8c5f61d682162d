//! What a node may hold, and what it shows.

use std::error::Error as _;

use micro_registry::{Address, BOOT_KEY, ErrorKind, Method, Node, NodeBuilder};
use proptest::prelude::*;

fn named(id: &str) -> NodeBuilder {
    let service = "greeter".parse().expect("a service name");
    let address = "127.0.0.1:9090".parse().expect("an address");
    Node::builder(service, id, address)
}

fn methods(count: usize, name: &str) -> Vec<Method> {
    vec![Method::new("greeter.Say", name); count]
}

#[test]
fn a_node_holds_what_it_was_given() {
    let node = named("greeter-1")
        .version("1.2.0")
        .boot("boot-1")
        .metadata("zone", "a")
        .metadata("zone", "b")
        .methods(methods(1, "Hello"))
        .build()
        .unwrap();
    assert_eq!(node.service().as_str(), "greeter");
    assert_eq!(node.id(), "greeter-1");
    assert_eq!(node.version(), "1.2.0");
    assert_eq!(node.address().to_string(), "127.0.0.1:9090");
    assert_eq!(node.boot(), "boot-1");
    assert_eq!(
        node.metadata().iter().collect::<Vec<_>>(),
        [(&"zone".into(), &"b".into())]
    );
    assert_eq!(node.methods()[0].path(), "/greeter.Say/Hello");
    assert_eq!(node.origin(), None);
    assert!(node.without_methods().methods().is_empty());
}

#[test]
fn where_the_registry_holds_a_node_is_known_and_not_stored() {
    let host = "10.0.0.7:1".parse::<Address>().unwrap().host().clone();
    let node = named("greeter-1").origin(host.clone()).build().unwrap();
    assert_eq!(node.origin(), Some(&host));
    assert_eq!(node.stored_metadata().count(), 0);
}

#[test]
fn what_is_stored_is_read_back() {
    let node = named("greeter-1")
        .boot("boot-1")
        .metadata("zone", "a")
        .build()
        .unwrap();
    let pairs: Vec<_> = node.stored_metadata().collect();
    assert_eq!(pairs, [(BOOT_KEY, "boot-1"), ("zone", "a")]);
    let read = pairs.iter().fold(named("greeter-1"), |node, (key, value)| {
        node.metadata(*key, *value)
    });
    assert_eq!(read.build().unwrap(), node);
    let foreign = named("greeter-1").build().unwrap();
    assert_eq!(foreign.stored_metadata().count(), 0);
}

#[test]
fn what_is_at_the_limit_is_taken_and_what_is_above_it_is_refused() {
    let pairs = |count: usize| {
        (0..count).fold(named("a"), |node, number| {
            node.metadata(format!("key-{number}"), "")
        })
    };
    let text = |length: usize| "x".repeat(length);
    let cases: [(&str, NodeBuilder, NodeBuilder); 7] = [
        ("255", named(&text(255)), named(&text(256))),
        (
            "128",
            named("a").version(text(128)),
            named("a").version(text(129)),
        ),
        ("255", named("a").boot(text(255)), named("a").boot(text(256))),
        ("256", pairs(256), pairs(257)),
        (
            "128",
            named("a").metadata(text(128), ""),
            named("a").metadata(text(129), ""),
        ),
        (
            "4096",
            named("a").metadata("k", text(4096)),
            named("a").metadata("k", text(4097)),
        ),
        (
            "4096",
            named("a").methods(methods(4096, "Hello")),
            named("a").methods(methods(4097, "Hello")),
        ),
    ];
    for (limit, good, bad) in cases {
        good.build().unwrap_or_else(|error| panic!("{limit}: {error}"));
        let error = bad.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(limit), "{error}");
        assert!(error.source().is_none());
    }
    let longest = methods(1, &text(255));
    assert!(named("a").methods(longest).build().is_ok());
    assert!(named("a").methods(methods(1, &text(256))).build().is_err());
}

#[test]
fn ids_with_marks_are_taken_and_ids_with_spaces_are_refused() {
    for id in [
        "a",
        "9",
        "greeter-4f9f8e6c",
        "host:greeter:9090",
        "a/b",
        "a%2Fb",
        "...",
        "é",
        "_nomad-task-1",
    ] {
        assert!(named(id).build().is_ok(), "{id:?}");
    }
    for id in [
        "", ".", "..", " ", "a b", "a\t", "a\r\nb", "a\0", "\u{a0}", "\u{2028}", "\u{85}", "\u{7f}",
    ] {
        let error = named(id).build().unwrap_err();
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

#[test]
fn control_characters_stand_in_values_only() {
    let node = named("a")
        .metadata("lines", "one\r\ntwo\tthree \u{1b}[31m")
        .build()
        .unwrap();
    assert_eq!(node.metadata()["lines"], "one\r\ntwo\tthree \u{1b}[31m");
    let refused = [
        named("a").version("1\n"),
        named("a").boot("1\n"),
        named("a").metadata("a\n", ""),
        named("a").metadata("", "no key"),
        named("a").metadata("a", "\0"),
        named("a").methods(methods(1, "Hel\nlo")),
        named("a").methods(methods(1, "Hel\u{1b}[31mlo")),
    ];
    for node in refused {
        let error = node.clone().build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{node:?}");
        assert!(!error.to_string().contains(char::is_control), "{error}");
    }
}

#[test]
fn neither_debug_nor_an_error_shows_a_value_of_the_metadata() {
    let builder = named("a").metadata("token", "hunter2");
    let node = builder.clone().build().unwrap();
    assert!(format!("{node:?}").contains("token"), "{node:?}");
    let error = builder.clone().metadata("more", "hunter2\0").build().unwrap_err();
    let shown = format!("{node:?} {node:#?} {builder:?} {error} {error:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

proptest! {
    #[test]
    fn no_node_panics_and_none_is_shown_with_control_characters(
        id in any::<String>(),
        version in any::<String>(),
        boot in any::<String>(),
        metadata in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        names in prop::array::uniform4(any::<String>()),
    ) {
        let mut node = named(&id).version(version).boot(boot);
        for (key, value) in metadata {
            node = node.metadata(key, value);
        }
        let [service, name, request, response] = names;
        let mut method = Method::new(service, name);
        method.request = request;
        method.response = response;
        let shown = match node.methods([method]).build() {
            Ok(node) => format!("{node:?}"),
            Err(error) => error.to_string(),
        };
        prop_assert!(!shown.contains(char::is_control), "{:?}", shown);
    }

    #[test]
    fn whatever_is_stored_is_read_back(
        id in r"\S{1,20}",
        version in r"[^\x00-\x1f\x7f-\x9f]{0,20}",
        boot in "[a-z0-9-]{0,20}",
        metadata in prop::collection::btree_map(r"[^\x00-\x1f\x7f-\x9f]{1,20}", "[^\0]{0,40}", 0..6),
    ) {
        prop_assume!(!id.contains(char::is_control) && id != "." && id != "..");
        let builder = metadata.iter().fold(
            named(&id).version(&version).boot(boot),
            |node, (key, value)| node.metadata(key, value),
        );
        let node = builder.build().map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = node.stored_metadata().fold(
            named(node.id()).version(node.version()),
            |read, (key, value)| read.metadata(key, value),
        );
        prop_assert_eq!(read.build().ok(), Some(node));
    }
}
