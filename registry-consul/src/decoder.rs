//! Makes nodes of what Consul lists, each record by itself, so that a bad one hides no other.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use micro_registry::{Node, ServiceName, SkippedRecords, Snapshot};
use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::record::Entry;

/// Makes nodes of records, and remembers what it made of those of the last list: most stay as they are.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    last: HashMap<u64, Decoded>,
    hasher: RandomState,
}

/// The node that was made of a record, and when it was written.
#[derive(Clone, Debug)]
struct Decoded {
    node: Arc<Node>,
    modify_index: u64,
}

impl Decoder {
    /// The nodes of `service` in the list `body`; what is no node is skipped with a warning.
    ///
    /// # Errors
    ///
    /// When it is no list.
    pub(crate) fn decode(
        &mut self,
        body: &[u8],
        service: &ServiceName,
        skipped: &SkippedRecords,
    ) -> Result<Snapshot, serde_json::Error> {
        let mut present = HashMap::with_capacity(self.last.len());
        let mut number = 0_usize;
        let mut nodes = Vec::with_capacity(self.last.len());
        each_of(body, |raw| {
            number += 1;
            let entry = match Entry::read(raw) {
                Ok(entry) => entry,
                Err(error) => return skipped.skip(&format!("{service} #{number}"), &error),
            };
            let hash = self.hasher.hash_one((&entry.node, entry.service.get()));
            let decoded = self
                .last
                .get(&hash)
                .cloned()
                .or_else(|| decode(&entry, service, skipped));
            if let Some(decoded) = decoded {
                nodes.push(decoded.clone());
                present.insert(hash, decoded);
            }
        })?;
        self.last = present;
        // A node that moved to another agent may stand at the old one, too: what was written last counts.
        nodes.sort_by_key(|decoded| decoded.modify_index);
        Ok(Snapshot::new(nodes.into_iter().map(|decoded| decoded.node)))
    }
}

/// The node of an entry, if it is one of `service`.
fn decode(entry: &Entry<'_>, service: &ServiceName, skipped: &SkippedRecords) -> Option<Decoded> {
    let stored = match entry.stored() {
        Ok(stored) => stored,
        Err(error) => {
            skipped.skip(service.as_str(), &error);
            return None;
        }
    };
    if !stored.is_of(service) {
        return None;
    }
    match stored.node(&entry.node) {
        Ok(node) => Some(Decoded {
            node: Arc::new(node),
            modify_index: stored.modify_index,
        }),
        Err(error) => {
            skipped.skip(&format!("{service}/{}", stored.id()), &error);
            None
        }
    }
}

/// Hands out the records of a list one by one, so that one that is bad spoils no other.
pub(crate) fn each_of(body: &[u8], each: impl FnMut(&RawValue)) -> Result<(), serde_json::Error> {
    struct Each<F>(F);
    impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Each<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of records")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut records: A) -> Result<(), A::Error> {
            while let Some(record) = records.next_element::<&'de RawValue>()? {
                (self.0)(record);
            }
            Ok(())
        }

        fn visit_unit<E>(self) -> Result<(), E> {
            Ok(())
        }
    }
    // Bytes that are no text spoil the record that they stand in, and no other.
    let text = String::from_utf8_lossy(body);
    serde_json::Deserializer::from_str(&text).deserialize_any(Each(each))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn entry(agent: &str, id: &str, port: i64, index: u64) -> Value {
        json!({
            "Node": {"Node": agent, "Address": "10.0.0.1"},
            "Service": {"ID": id, "Service": "greeter", "Port": port, "Address": "", "ModifyIndex": index,
                "Meta": {"micro-id": id}},
            "Checks": [{"Status": "passing"}],
        })
    }

    fn decode_with(decoder: &mut Decoder, body: &[u8]) -> Snapshot {
        let skipped = SkippedRecords::new(crate::NAME);
        decoder
            .decode(body, &"greeter".parse().unwrap(), &skipped)
            .unwrap()
    }

    fn decoded(list: &[Value]) -> Vec<String> {
        let snapshot = decode_with(&mut Decoder::default(), Value::from(list).to_string().as_bytes());
        let shown = snapshot
            .nodes()
            .iter()
            .map(|node| format!("{} {}", node.id(), node.address().port()));
        shown.collect()
    }

    #[test]
    fn a_bad_record_hides_no_other() {
        let bad = [
            json!(null),
            json!(1),
            json!({}),
            json!({"Node": null, "Service": {}}),
            json!({"Node": {}, "Service": null}),
            json!({"Node": {"Address": 1}, "Service": {}}),
            entry("host-1", "bad", 0, 1),
        ];
        let good = [entry("host-1", "a", 80, 1), entry("host-1", "b", 81, 1)];
        let list = [&good[..1], &bad[..], &good[1..]].concat();
        assert_eq!(decoded(&list), ["a 80", "b 81"]);
    }

    #[test]
    fn bytes_that_are_no_text_spoil_their_record_alone() {
        let list = json!([entry("host-1", "a", 80, 1), entry("host-1", "§", 81, 1)]).to_string();
        let mut body = list.into_bytes();
        let at = body.iter().position(|byte| *byte == 0xc2).unwrap();
        body[at] = 0xff;
        let snapshot = decode_with(&mut Decoder::default(), &body);
        assert!(snapshot.get("a").is_some());
    }

    #[test]
    fn a_service_whose_name_differs_in_case_is_another() {
        let mut other = entry("host-1", "b", 80, 1);
        other["Service"]["Service"] = json!("Greeter");
        assert_eq!(decoded(&[entry("host-1", "a", 80, 1), other]), ["a 80"]);
    }

    #[test]
    fn of_a_node_that_moved_the_newer_record_counts() {
        let (old, new) = (entry("host-1", "a", 80, 5), entry("host-2", "a", 81, 9));
        assert_eq!(decoded(&[old.clone(), new.clone()]), ["a 81"]);
        assert_eq!(decoded(&[new, old]), ["a 81"]);
    }

    #[test]
    fn what_did_not_change_is_the_same_node_and_what_changed_is_another() {
        let mut decoder = Decoder::default();
        let mut decode = |list: &[Value]| decode_with(&mut decoder, Value::from(list).to_string().as_bytes());
        let before = decode(&[entry("host-1", "a", 80, 1), entry("host-1", "b", 80, 1)]);
        let after = decode(&[entry("host-1", "a", 80, 1), entry("host-1", "b", 81, 2)]);
        assert!(Arc::ptr_eq(before.get("a").unwrap(), after.get("a").unwrap()));
        assert_eq!(after.get("b").unwrap().address().port(), 81);
        assert_eq!(decode(&[]).len(), 0);
        assert!(decoder.last.is_empty());
    }

    #[test]
    fn no_list_is_an_error_and_null_is_an_empty_one() {
        let service = "greeter".parse().unwrap();
        let skipped = SkippedRecords::new(crate::NAME);
        for body in ["", "{}", "1", "[{}", "[1,,2]"] {
            assert!(
                Decoder::default()
                    .decode(body.as_bytes(), &service, &skipped)
                    .is_err(),
                "{body}"
            );
        }
        assert!(decode_with(&mut Decoder::default(), b"null").is_empty());
        // Depth costs no stack.
        let deep = "[".repeat(1_000_000);
        assert!(
            Decoder::default()
                .decode(deep.as_bytes(), &service, &skipped)
                .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_decoding_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let skipped = SkippedRecords::new(crate::NAME);
            let _ = Decoder::default().decode(&body, &"greeter".parse().unwrap(), &skipped);
        }
    }
}
