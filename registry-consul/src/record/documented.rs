//! What docs/registries.md shows of Consul is what is written and read.

use std::time::Duration;

use micro_registry::{Idempotency, Method, Node};
use serde_json::{Value, json, value::to_raw_value};

use super::{
    Entry, Extras, registration,
    tag::{FACTS_LENGTH_MAX, Reader},
};

const DOCUMENTATION: &str = include_str!("../../../docs/registries.md");

/// The node of the documentation.
fn node() -> Node {
    let mut hello = Method::new("greeter.Say", "Hello");
    hello.request = "greeter.HelloRequest".into();
    hello.response = "greeter.HelloReply".into();
    hello.idempotency = Idempotency::NoSideEffects;
    let address = "10.0.0.7:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "greeter-0192f0c4", address);
    let node = node
        .version("1.2.0")
        .boot("7c1e5f0e9d2b4a68")
        .metadata("zone", "a");
    node.methods([hello]).build().unwrap()
}

/// The block behind the mark `name`.
fn shown(name: &str) -> &'static str {
    let (_, behind) = DOCUMENTATION.split_once(&format!("<!-- {name} -->")).unwrap();
    behind.split("```").nth(1).unwrap().split_once('\n').unwrap().1
}

#[test]
fn the_documented_registration_is_what_is_sent_and_its_tags_say_what_stands_below_it() {
    let documented: Value = serde_json::from_str(shown("consul registration")).unwrap();
    let sent = registration(&node(), Duration::from_secs(30), &Extras::default()).unwrap();
    let mut sent: Value = serde_json::from_slice(&sent).unwrap();
    let facts = |value: &Value| {
        let tags = value["Tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap());
        let facts = tags.map(|tag| {
            let fact = Reader::new(FACTS_LENGTH_MAX).read(tag).unwrap().unwrap();
            format!("{} {}", &tag[..2], String::from_utf8(fact.payload).unwrap())
        });
        facts.collect::<Vec<_>>()
    };
    assert_eq!(facts(&documented), facts(&sent));
    assert_eq!(shown("consul tags").lines().collect::<Vec<_>>(), facts(&sent));
    // Compressed bytes differ by the version of the library.
    sent["Tags"] = documented["Tags"].clone();
    assert_eq!(documented, sent, "{sent}");
}

#[test]
fn the_documented_registration_is_read_as_the_node() {
    let documented: Value = serde_json::from_str(shown("consul registration")).unwrap();
    let mut service = documented.clone();
    service["Service"] = service["Name"].take();
    let record = json!({"Node": {"Node": "host-1", "Address": "10.0.0.7"}, "Service": service});
    let raw = to_raw_value(&record).unwrap();
    let entry = Entry::read(&raw).unwrap();
    assert_eq!(entry.service.node(&entry.node).unwrap(), node());
}
