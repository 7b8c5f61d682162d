//! What docs/registries.md shows of etcd is what is written and read.

use micro_registry::{Idempotency, Method, Node};
use serde_json::Value;

use super::{decode, encode};
use crate::keys::{Keys, place};

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
fn the_documented_key_and_record_are_what_is_written_and_read() {
    let node = node();
    assert_eq!(
        shown("etcd key").trim(),
        Keys::default().node(node.service(), node.id())
    );
    let documented = shown("etcd record");
    let written = String::from_utf8(encode(&node).unwrap()).unwrap();
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(value(documented), value(&written), "{written}");
    assert_eq!(
        decode(node.service(), node.id(), documented.as_bytes()).unwrap(),
        node
    );
}

#[test]
fn the_documented_marks_are_those_that_a_key_has_for_what_may_not_stand_in_it() {
    let [slash, percent] = ["/", "%"].map(|mark| place(mark));
    let said = format!("`/` of an id is written as `{slash}` and `%` as `{percent}`");
    assert!(DOCUMENTATION.contains(&said), "{said}");
}
