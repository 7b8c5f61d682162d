//! What a record takes while it is read that somebody wrote to do harm. One test alone: what the process allocates is measured.

use micro_registry_etcd::fuzzing::{RECORD_LENGTH_MAX, has_node};
use micro_test_servers::peak_growth;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// A good record but for what stands in these places.
fn record(metadata: &str, endpoints: &str, node: &str) -> String {
    format!(
        r#"{{"name":"greeter","metadata":{metadata},"endpoints":{endpoints},"nodes":[{{"id":"a","address":"10.0.0.7:80","metadata":{node}}}]}}"#
    )
}

/// `element` as often as there is room for in a record, between `ends`.
fn filled(element: &str, ends: [&str; 2], length: usize) -> String {
    let many = format!("{element},").repeat(length / (element.len() + 1) - 1);
    format!("{}{many}{element}{}", ends[0], ends[1])
}

#[test]
fn no_record_takes_more_than_twice_the_longest() {
    // Room for what stands around it.
    let most = RECORD_LENGTH_MAX - 200;
    let numbered = |length: usize| {
        let pairs: Vec<_> = (0..length / 12)
            .map(|number| format!("\"{number:06}\":\"\""))
            .collect();
        format!("{{{}}}", pairs.join(","))
    };
    let long = |length: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(length - 20));
    let escaped = format!("{{\"a\":\"{}\"}}", "\\u0041".repeat(most / 6 - 20));
    let method =
        r#"{"name":"A.B","request":{"name":"C"},"response":{"name":"D"},"metadata":{"stream":"true"}}"#;
    let records = [
        ("a long value", record(&long(most), "[]", "{}")),
        ("an escaped value", record(&escaped, "[]", "{}")),
        ("many pairs", record(&numbered(most), "[]", "{}")),
        ("many pairs of a node", record("{}", "[]", &numbered(most))),
        (
            "many methods",
            record("{}", &filled(method, ["[", "]"], most), "{}"),
        ),
        (
            "many empty methods",
            record("{}", &filled("{}", ["[", "]"], most), "{}"),
        ),
        ("a long method", record("{}", &format!("[{}]", long(most)), "{}")),
        ("many lists", record("{}", &filled("[]", ["[", "]"], most), "{}")),
        ("deep lists", "[".repeat(most)),
        ("deep maps", "{\"a\":".repeat(most / 5)),
        (
            "many nodes",
            format!("{{\"nodes\":{}}}", filled("{}", ["[", "]"], most)),
        ),
        ("too long", "x".repeat(2 * RECORD_LENGTH_MAX)),
    ];
    // What is loaded and set up the first time is no part of a record.
    assert!(has_node(record("{}", "[]", "{}").as_bytes()));
    let grown = records.map(|(what, record)| {
        let record = record.into_bytes();
        (peak_growth(&MEMORY, || has_node(&record)), what)
    });
    println!("{grown:?}");
    for (grown, what) in grown {
        assert!(grown <= 2 * RECORD_LENGTH_MAX, "{what}: {grown} bytes");
    }
}
