//! Tests of the text: what fits survives, and nothing that others write does harm.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

fn strings(properties: &[TxtProperty]) -> Vec<(String, Vec<u8>)> {
    properties
        .iter()
        .map(|property| {
            (
                property.key().to_owned(),
                property.val().unwrap_or_default().to_vec(),
            )
        })
        .collect()
}

fn read_all(strings: &[(String, Vec<u8>)], resolved: Option<SocketAddr>) -> Result<Record> {
    read(
        strings
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice())),
        resolved,
    )
}

fn record(node: micro_registry::NodeBuilder) -> Record {
    let stamp = Stamp {
        since: 1_763_700_000_000,
        revision: 3,
    };
    Record {
        node: node.build().unwrap(),
        stamp,
    }
}

fn greeter(id: &str) -> micro_registry::NodeBuilder {
    Node::builder("greeter".parse().unwrap(), id, "127.0.0.1:9090".parse().unwrap())
}

#[test]
fn awkward_metadata_and_long_values_survive_the_round_trip() {
    let record = record(
        greeter(&"n".repeat(255))
            .version("1.2.0")
            .boot("0123456789abcdef")
            .metadata("a/b.c=d%e;f", "x=y;z%")
            .metadata("É", "\"quoted\" and spaced\n")
            .metadata("Zone", "a")
            .metadata("zone", "b")
            .metadata("long", "é".repeat(150)),
    );
    let encoded = strings(&encode(&record).unwrap());
    assert!(
        encoded
            .iter()
            .all(|(key, value)| key.len() + 1 + value.len() <= 255)
    );
    assert_eq!(read_all(&encoded, None).unwrap(), record);
}

#[test]
fn a_node_that_does_not_fit_is_refused_with_its_size_and_the_limit() {
    let error = encode(&record(greeter("a").metadata("long", "x".repeat(1_300)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert!(error.to_string().contains("1300"), "{error}");
    let error = encode(&record(greeter("a").metadata("É".repeat(60), "x"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn plain_dns_sd_without_an_address_in_its_text_is_read_from_its_records() {
    let plain = [
        ("service".to_owned(), b"greeter".to_vec()),
        ("ID".to_owned(), b"a".to_vec()),
        ("id".to_owned(), b"b".to_vec()),
    ];
    let record = read_all(&plain, Some("10.0.0.1:80".parse().unwrap())).unwrap();
    assert_eq!(record.node.id(), "a");
    assert_eq!(record.node.address().to_string(), "10.0.0.1:80");
    assert_eq!(read_all(&plain, None).unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn what_is_no_node_is_refused() {
    let good: Vec<(String, Vec<u8>)> = strings(&encode(&record(greeter("a"))).unwrap());
    let changes: [(&str, &[u8]); 8] = [
        ("service", b"../agent"),
        ("service", b""),
        ("id", b"a b"),
        ("id", b"\xff"),
        ("address", b"http://10.0.0.1:80"),
        ("address", b"0.0.0.0:80"),
        ("since", b"-1"),
        ("rev", b"99999999999999999999999"),
    ];
    for (key, value) in changes {
        let mut changed = good.clone();
        for string in changed.iter_mut().filter(|string| string.0 == key) {
            string.1 = value.to_vec();
        }
        assert!(read_all(&changed, None).is_err(), "{key}");
    }
}

prop_compose! {
    fn any_record()(
        service in "[a-zA-Z0-9]([a-zA-Z0-9._-]{0,20}[a-zA-Z0-9])?",
        id in "[^\\s\\p{C}]{1,80}",
        version in "[^\\p{C}]{0,20}",
        boot in "[^\\p{C}]{0,20}",
        port in 1..=u16::MAX,
        metadata in prop::collection::btree_map("[^\\p{C}]{1,20}", "[^\\x00]{0,300}", 0..5),
        since: u64,
        revision: u64,
    ) -> Option<Record> {
        let address = Address::new("127.0.0.1", port).ok()?;
        let mut node = Node::builder(service.parse().ok()?, id, address).version(version).boot(boot);
        for (key, value) in metadata {
            node = node.metadata(key, value);
        }
        Some(Record { node: node.build().ok()?, stamp: Stamp { since, revision } })
    }
}

proptest! {
    #[test]
    fn any_node_that_fits_survives_the_round_trip(record in any_record()) {
        prop_assume!(record.is_some());
        let record = record.unwrap();
        if let Ok(properties) = encode(&record) {
            let wire: usize = strings(&properties).iter().map(|(key, value)| key.len() + value.len() + 2).sum();
            prop_assert!(wire <= TXT_LENGTH_MAX);
            prop_assert_eq!(read_all(&strings(&properties), None).unwrap(), record);
        }
    }

    #[test]
    fn no_strings_make_the_reader_panic(
        strings in prop::collection::vec(("(service|id|address|m\\.[a-z%0-9;]{0,6}|.{0,9})", prop::collection::vec(any::<u8>(), 0..64)), 0..12),
        ip: Option<IpAddr>,
    ) {
        let _ = read_all(&strings, ip.map(|ip| SocketAddr::new(ip, 80)));
    }
}
