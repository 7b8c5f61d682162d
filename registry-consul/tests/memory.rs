//! What a record takes while it is read that somebody wrote to do harm. One test alone: what the process allocates is measured.

use std::io::Write as _;

use flate2::{Compression, write::ZlibEncoder};
use micro_registry_consul::fuzzing::{RECORD_LENGTH_MAX, nodes_in};
use micro_test_servers::peak_growth;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reading any record takes, however short: above all the state of the inflater.
const ANY: usize = 64 * 1024;

/// An answer with one record, good but for these tags and this metadata.
fn answer(tags: &str, meta: &str) -> String {
    format!(
        r#"[{{"Node":{{"Node":"host","Address":"10.0.0.9"}},"Service":{{"ID":"a","Service":"greeter","Port":80,"Tags":{tags},"Meta":{meta}}}}}]"#
    )
}

/// A tag that is `payload` when it is unpacked.
fn packed(kind: char, payload: &[u8]) -> String {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    let packed = encoder.write_all(payload).and_then(|()| encoder.finish());
    let packed = packed.expect("a vector takes all that is written");
    let hex: String = packed.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{kind}-{hex}\"")
}

#[test]
fn no_record_takes_more_than_twice_the_longest() {
    // Room for what stands around it.
    let most = RECORD_LENGTH_MAX - 200;
    let pairs: Vec<_> = (0..most / 12)
        .map(|number| format!("\"{number:06}\":\"\""))
        .collect();
    let map = format!("{{{}}}", pairs.join(","));
    let method = format!(r#"{{"name":"A.B","metadata":{map}}}"#);
    let bomb = |kind| packed(kind, &vec![b' '; 64 << 20]);
    let some = |kind| packed(kind, &vec![b'"'; 300 * 1024]);
    let many = |kind| format!("[{}]", vec![some(kind); 200].join(","));
    let records = [
        ("a long tag", answer(&format!("[\"{}\"]", "x".repeat(most)), "{}")),
        (
            "many tags",
            answer(&format!("[{}\"\"]", "\"\",".repeat(most / 3)), "{}"),
        ),
        ("many pairs", answer("[]", &map)),
        (
            "many pairs in a tag",
            answer(&format!("[{}]", packed('t', map.as_bytes())), "{}"),
        ),
        (
            "many pairs of a method",
            answer(&format!("[{}]", packed('e', method.as_bytes())), "{}"),
        ),
        (
            "a long value",
            answer("[]", &format!("{{\"a\":\"{}\"}}", "x".repeat(most))),
        ),
        (
            "an escaped value",
            answer("[]", &format!("{{\"a\":\"{}\"}}", "\\u0041".repeat(most / 6))),
        ),
        ("a bomb of a version", answer(&format!("[{}]", bomb('v')), "{}")),
        ("a bomb of metadata", answer(&format!("[{}]", bomb('t')), "{}")),
        ("a bomb of a method", answer(&format!("[{}]", bomb('e')), "{}")),
        ("many versions", answer(&many('v'), "{}")),
        ("many pieces of metadata", answer(&many('t'), "{}")),
        ("many methods", answer(&many('e'), "{}")),
        (
            "deep lists",
            format!("[{}{}]", "[".repeat(most / 2), "]".repeat(most / 2)),
        ),
        ("deep metadata", answer("[]", &"{\"a\":".repeat(most / 5))),
        (
            "a long id",
            answer("[]", "{}").replace("\"a\"", &format!("\"{}\"", "x".repeat(4 * RECORD_LENGTH_MAX))),
        ),
        (
            "too long",
            answer(
                "[]",
                &format!("{{\"a\":\"{}\"}}", "x".repeat(2 * RECORD_LENGTH_MAX)),
            ),
        ),
    ];
    // What is loaded and set up the first time is no part of a record.
    assert_eq!(nodes_in(answer("[]", "{}").as_bytes()), Some(1));
    let grown = records.map(|(what, answer)| {
        let answer = answer.into_bytes();
        (peak_growth(&MEMORY, || nodes_in(&answer)), what)
    });
    println!("{grown:?}");
    for (grown, what) in grown {
        assert!(grown <= 2 * RECORD_LENGTH_MAX + ANY, "{what}: {grown} bytes");
    }
}
