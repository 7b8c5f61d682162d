//! Records that somebody wrote to do harm: each is skipped alone, and the good ones beside it stay.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use micro_registry::{ServiceName, SkippedRecords, Snapshot};
use serde_json::{Value, json};

use super::Decoder;

/// Hosts and ports that cannot be called, as JSON has them.
const HOSTS: [&str; 24] = [
    "0.0.0.0",
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.251",
    "ff02::fb",
    "255.255.255.255",
    "fe80::1",
    "fe80::1%eth0",
    "[::1]",
    "[::1]:80",
    "10.0.0.7:80",
    "10.1",
    "010.0.0.7",
    "0x7f.1",
    "http://evil/",
    "unix:///run/a.sock",
    "/run/a.sock",
    "a b",
    " 10.0.0.7",
    "a\r\nHost: b",
    "a\0b",
    "user:secret@10.0.0.7",
    "a.",
    "\u{e9}.example",
];
const PORTS: [&str; 12] = [
    "0",
    "-1",
    "65536",
    "70000",
    "9223372036854775808",
    "-9223372036854775809",
    "80.5",
    "1e400",
    "\"80\"",
    "null",
    "[]",
    "{}",
];

fn entry(id: &str) -> Value {
    json!({
        "Node": {"Node": "host-1", "Address": "10.0.0.1"},
        "Service": {"ID": id, "Service": "greeter", "Port": 80, "Address": "10.0.0.7", "Meta": {"micro-id": id}},
        "Checks": [{"Status": "passing"}],
    })
}

/// An entry whose service has this key set.
fn with(key: &str, value: impl Into<Value>) -> String {
    let mut entry = entry("bad");
    entry["Service"][key] = value.into();
    entry.to_string()
}

fn decode(body: &[u8]) -> Snapshot {
    let service: ServiceName = "greeter".parse().unwrap();
    Decoder::default()
        .decode(body, &service, &SkippedRecords::new("test"))
        .unwrap()
}

/// Reads `record` between two good ones; the good ones come out, and nothing else does.
fn is_skipped(record: impl AsRef<[u8]>, what: &str) {
    let [before, behind] = ["a", "b"].map(|id| entry(id).to_string());
    let body = [
        b"[",
        before.as_bytes(),
        b",",
        record.as_ref(),
        b",",
        behind.as_bytes(),
        b"]",
    ]
    .concat();
    let found = decode(&body);
    let ids: Vec<_> = found.nodes().iter().map(|node| node.id()).collect();
    assert_eq!(ids, ["a", "b"], "{what}");
}

fn packed(kind: char, payload: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(payload).unwrap();
    let hex: String = encoder
        .finish()
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{kind}-{hex}")
}

#[test]
fn an_address_that_cannot_be_called() {
    for host in HOSTS {
        is_skipped(with("Address", host), host);
    }
    for port in PORTS {
        is_skipped(
            entry("bad")
                .to_string()
                .replace("\"Port\":80", &format!("\"Port\":{port}")),
            port,
        );
    }
    is_skipped(entry("bad").to_string().replace("\"Port\":80,", ""), "no port");
    let nowhere = with("Address", "").replace("10.0.0.1", "");
    is_skipped(nowhere, "neither the service nor its agent has an address");
}

#[test]
fn what_is_no_record_or_of_a_wrong_type() {
    for record in [
        "null",
        "1",
        "-1e400",
        "\"x\"",
        "true",
        "[]",
        "{}",
        "[[]]",
        r#"{"Node":{}}"#,
        r#"{"Service":{}}"#,
    ] {
        is_skipped(record, record);
    }
    for (key, value) in [
        ("ID", json!(1)),
        ("ID", json!(null)),
        ("Service", json!(["greeter"])),
        ("Address", json!({})),
        ("Tags", json!("v-1")),
        ("Tags", json!([1])),
        ("Meta", json!([])),
        ("Meta", json!({"a": 1})),
        ("Meta", json!({"a": {"b": "c"}})),
        ("Meta", json!({"micro-id": ""})),
        ("Meta", json!({"micro-id": ".."})),
        ("Meta", json!({"micro-id": "a b"})),
        ("Meta", json!({"micro-id": "a\0b"})),
        ("Meta", json!({"": "empty key"})),
        ("Meta", json!({"a\0b": "c"})),
        ("Meta", json!({"a": "b\0c"})),
        ("ModifyIndex", json!(-1)),
        ("ModifyIndex", json!("1")),
    ] {
        is_skipped(with(key, value.clone()), &format!("{key}: {value}"));
    }
}

#[test]
fn what_programs_read_in_two_ways() {
    let good = entry("bad").to_string();
    let twice = [
        ("\"Port\":80", "\"Port\":80,\"Port\":81"),
        ("\"ID\":\"bad\"", "\"ID\":\"bad\",\"ID\":\"worse\""),
        (
            "\"Service\":\"greeter\"",
            "\"Service\":\"greeter\",\"Service\":\"orders\"",
        ),
    ];
    for (once, twice) in twice {
        assert!(good.contains(once), "{once}");
        is_skipped(good.replace(once, twice), twice);
    }
    is_skipped(
        good.replace("\"bad\"", "\"\\ud800\""),
        "half of a pair of surrogates",
    );
}

#[test]
fn depth_costs_no_stack() {
    for depth in [33, 127, 128, 129, 100_000] {
        let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let maps = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        for deep in [&lists, &maps] {
            is_skipped(deep, "a record");
            let inside = entry("bad").to_string().replace("{\"micro-id\":\"bad\"}", deep);
            is_skipped(inside, "metadata");
        }
    }
}

#[test]
fn bytes_that_are_no_text() {
    for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"] {
        let record = entry("bad").to_string().replace("10.0.0.7", "ADDRESS");
        let at = record.find("ADDRESS").unwrap();
        let (head, tail) = (&record.as_bytes()[..at], &record.as_bytes()[at + 7..]);
        is_skipped([head, bad, tail].concat(), "the address");
    }
}

#[test]
fn a_bomb_in_every_fact_that_is_compressed() {
    for kind in ['v', 't', 'e'] {
        // 8 MiB of what would be text, and of what would be JSON.
        for payload in [
            vec![b'1'; 8 << 20],
            [b"{\"a\":\"".as_slice(), &vec![b' '; 8 << 20], b"\"}"].concat(),
        ] {
            let tag = packed(kind, &payload);
            assert!(tag.len() < 512 * 1024);
            is_skipped(with("Tags", vec![tag]), &format!("{kind}"));
        }
        // None is too large by itself, and together they are.
        let tag = packed(kind, &vec![b' '; 300 * 1024]);
        is_skipped(with("Tags", vec![tag; 100]), &format!("many of {kind}"));
    }
}

#[test]
fn a_hundred_thousand_records_of_which_every_tenth_is_bad() {
    let records = (0..100_000).map(|number| {
        let mut record = entry(&format!("node-{number}"));
        if number % 10 == 0 {
            record["Service"]["Port"] = 70_000.into();
        }
        record.to_string()
    });
    let body = format!("[{}]", records.collect::<Vec<_>>().join(","));
    assert_eq!(decode(body.as_bytes()).len(), 90_000);
}

#[test]
fn more_than_a_record_may_have() {
    is_skipped(with("Tags", vec!["x".repeat(3 << 20)]), "3 MB in a tag");
    is_skipped(
        with("Meta", json!({"a": "x".repeat(3 << 20)})),
        "3 MB in metadata",
    );
    is_skipped(with("Meta", json!({"a": "x".repeat(5_000)})), "a long value");
    let pairs: serde_json::Map<_, _> = (0..300).map(|number| (format!("k{number}"), json!(""))).collect();
    is_skipped(with("Meta", pairs), "many pairs");
    is_skipped(with("Meta", json!({"micro-id": "i".repeat(256)})), "a long id");
}
