//! What docs/registries.md shows of mDNS is what is announced.

use super::*;

const DOCUMENTATION: &str = include_str!("../../../docs/registries.md");

#[test]
fn the_documented_text_is_what_is_announced_and_heard() {
    let address = "127.0.0.1:9090".parse().unwrap();
    let node = Node::builder("greeter".parse().unwrap(), "greeter-0192f0c4", address);
    let node = node
        .version("1.2.0")
        .boot("7c1e5f0e9d2b4a68")
        .metadata("zone", "a");
    let stamp = Stamp {
        since: 1_763_700_000_000,
        revision: 0,
    };
    let record = Record {
        node: node.build().unwrap(),
        stamp,
    };
    let written = encode(&record).unwrap().into_iter().map(|string| {
        let value = String::from_utf8(string.val().unwrap().to_vec()).unwrap();
        format!("{}={value}", string.key())
    });
    let written: Vec<_> = written.collect();

    let (_, behind) = DOCUMENTATION.split_once("<!-- mdns text -->").unwrap();
    let documented = behind.split("```").nth(1).unwrap().split_once('\n').unwrap().1;
    assert_eq!(documented.lines().collect::<Vec<_>>(), written);
    let strings = documented.lines().map(|line| line.split_once('=').unwrap());
    assert_eq!(
        read(strings.map(|(key, value)| (key, value.as_bytes())), None).unwrap(),
        record
    );
}
