//! What holds of Consul's answers whatever others wrote into it; a fuzzer writes it, and tests replay what it has found.

use std::{fmt::Write as _, io::Write as _};

use flate2::{Compression, write::ZlibEncoder};
use micro_registry::{ServiceName, SkippedRecords, Snapshot};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::{NAME, decoder::Decoder, record};

/// The ids of records that stand beside what a fuzzer wrote.
const GOOD: [&str; 2] = ["good-before", "good-behind"];

/// An answer of `/v1/health/service/greeter` is read without harm; a record among others hides none of them.
///
/// # Panics
///
/// When that does not hold.
pub fn health_answer(data: &[u8]) {
    if let Some(snapshot) = decode(data) {
        assert!(
            snapshot
                .nodes()
                .iter()
                .all(|node| node.service().as_str() == "greeter")
        );
        assert_eq!(
            decode(data),
            Some(snapshot),
            "an answer says the same to all who read it"
        );
    }
    let text = String::from_utf8_lossy(data);
    let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
    let found = beside_good(&text);
    assert!(found.is_some() || !is_json, "a list of records is a list");
    hides_none(found.as_ref());
}

/// The tags of a record are read without harm, and hide no other record: as they stand, or what stands compressed in them.
///
/// # Panics
///
/// When that does not hold.
pub fn tags(data: &[u8]) {
    let Some((form, data)) = data.split_first() else {
        return;
    };
    let kind = ["v-", "t-", "e-"][usize::from(form / 3) % 3];
    let tags: Vec<String> = match form % 3 {
        0 => data
            .split(|byte| *byte == b'\n')
            .map(|tag| String::from_utf8_lossy(tag).into_owned())
            .collect(),
        1 => vec![kind.to_owned() + &hex(data)],
        _ => vec![kind.to_owned() + &hex(&packed(data))],
    };
    let record = json!({
        "Node": {"Node": "host", "Address": "10.0.0.9"},
        "Service": {"ID": "fuzz", "Service": "greeter", "Port": 80, "Tags": tags},
    });
    let found = beside_good(&record.to_string());
    assert!(found.is_some(), "a list of records is a list");
    hides_none(found.as_ref());
}

/// The longest record that is read, in bytes, and the most that is made of what is compressed in it.
pub const RECORD_LENGTH_MAX: usize = record::ENTRY_LENGTH_MAX;

/// How many nodes there are in an answer, which is read once.
#[must_use]
pub fn nodes_in(body: &[u8]) -> Option<usize> {
    let service: ServiceName = "greeter".parse().expect("a name within the grammar");
    let snapshot = Decoder::default().decode(body, &service, &SkippedRecords::new(NAME));
    Some(snapshot.ok()?.len())
}

fn decode(body: &[u8]) -> Option<Snapshot> {
    let service: ServiceName = "greeter".parse().expect("a name within the grammar");
    let (mut decoder, skipped) = (Decoder::default(), SkippedRecords::new(NAME));
    let first = decoder.decode(body, &service, &skipped).ok();
    // Once more, with what the decoder remembers of the first time.
    let again = decoder.decode(body, &service, &skipped).ok();
    assert_eq!(first.is_some(), again.is_some());
    first
}

fn beside_good(record: &str) -> Option<Snapshot> {
    let [before, behind] = GOOD.map(|id| {
        json!({
            "Node": {"Node": "host", "Address": "10.0.0.1"},
            "Service": {"ID": id, "Service": "greeter", "Port": 80, "Meta": {"micro-id": id}},
        })
    });
    decode(format!("[{before},{record},{behind}]").as_bytes())
}

fn hides_none(found: Option<&Snapshot>) {
    if let Some(found) = found {
        assert!(
            GOOD.iter().all(|id| found.get(id).is_some()),
            "a good record is hidden: {found:?}"
        );
    }
}

fn packed(payload: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(payload).and_then(|()| encoder.finish());
    written.expect("a vector takes all that is written")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("a string takes all that is written");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_a_fuzzer_wrote_does_no_harm() {
        replay("consul_health", super::health_answer);
        replay("consul_tags", super::tags);
    }

    fn replay(target: &str, property: fn(&[u8])) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../fuzz/corpus")
            .join(target);
        let files: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "no corpus of {target}");
        for file in files {
            property(&fs::read(file).unwrap());
        }
    }
}
