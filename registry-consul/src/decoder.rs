//! Makes nodes of what Consul lists, each record by itself, so that a bad one hides no other.

#[cfg(test)]
mod hostile;

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    str,
    sync::Arc,
};

use micro_registry::{Node, Result, ServiceName, SkippedRecords, Snapshot};
use serde::{
    Deserializer as _,
    de::{SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::record::{Entry, Identity, Readings};

/// As much of an id as a warning shows, in characters; a node's has 255 bytes.
const ID_SHOWN_MAX: usize = 255;

/// Makes nodes of records, and remembers what it made of those of the last list: most stay as they are, and one that
/// goes bad is what it was last.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    /// By the hash of all that a record says.
    last: HashMap<u64, Decoded>,
    readings: Readings,
    hasher: RandomState,
}

/// The node that was made of a record, and when it was written.
#[derive(Clone, Debug)]
struct Decoded {
    node: Arc<Node>,
    modify_index: u64,
    /// The hash of the agent and the id, by which Consul knows the record.
    key: u64,
    /// The hash of what says that two records without an id of ours are one node at two agents.
    place: Option<u64>,
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
    ) -> serde_json::Result<Snapshot> {
        let mut present = HashMap::with_capacity(self.last.len());
        let mut number = 0_usize;
        let mut nodes = Vec::with_capacity(self.last.len());
        let mut bad = Vec::new();
        each_of(body, |raw| {
            number += 1;
            let hash = self.hasher.hash_one(raw.get());
            if let Some(known) = self.last.get(&hash) {
                nodes.push(known.clone());
                present.insert(hash, known.clone());
                return;
            }
            match self.read(raw, service) {
                Ok(Some(decoded)) => {
                    nodes.push(decoded.clone());
                    present.insert(hash, decoded);
                }
                Ok(None) => {}
                Err(error) => {
                    let identity = Identity::of(raw);
                    skipped.skip(&shown(service, &identity, number), &error);
                    bad.push((hash, self.key(identity.agent(), identity.id())));
                }
            }
        })?;
        for (hash, decoded) in self.last_good(&bad) {
            nodes.push(decoded.clone());
            present.insert(hash, decoded);
        }
        self.last = present;
        Ok(snapshot(nodes))
    }

    /// The node of a record, if it is one of `service`.
    fn read(&mut self, raw: &RawValue, service: &ServiceName) -> Result<Option<Decoded>> {
        let Entry {
            node: place,
            service: stored,
        } = Entry::read(raw)?;
        if !stored.is_of(service) {
            return Ok(None);
        }
        let node = stored.node_of(service, &place, &mut self.readings)?;
        let is_called_by_agent = node.id() == stored.id_at(&place);
        let at = is_called_by_agent.then(|| {
            let at = (stored.id(), node.address().to_string(), node.boot());
            self.hasher.hash_one(at)
        });
        Ok(Some(Decoded {
            node: Arc::new(node),
            modify_index: stored.modify_index,
            key: self.key(place.agent(), stored.id()),
            place: at,
        }))
    }

    /// What the records with these hashes and keys were in the last list.
    fn last_good(&self, bad: &[(u64, u64)]) -> Vec<(u64, Decoded)> {
        if bad.is_empty() {
            return Vec::new();
        }
        let last: HashMap<_, _> = self.last.values().map(|decoded| (decoded.key, decoded)).collect();
        bad.iter()
            .filter_map(|(hash, key)| Some((*hash, (*last.get(key)?).clone())))
            .collect()
    }

    fn key(&self, agent: &str, id: &str) -> u64 {
        self.hasher.hash_one((agent, id))
    }
}

/// By what an operator finds a record.
fn shown(service: &ServiceName, identity: &Identity<'_>, number: usize) -> String {
    match identity.id() {
        "" => format!("{service} #{number}"),
        id => {
            // It may be as long as it likes.
            let id: String = id.chars().take(ID_SHOWN_MAX).collect();
            format!("{service}/{id}")
        }
    }
}

/// All of `decoded`, each node once, though it may stand at several agents.
fn snapshot(mut decoded: Vec<Decoded>) -> Snapshot {
    // A node that moved to another agent may stand at the old one, too: what was written last counts.
    decoded.sort_by_key(|decoded| decoded.modify_index);
    // The id of what has none of ours is made of the agent's name: the first agent's, so that it stays the same.
    let mut first: HashMap<u64, Arc<Node>> = HashMap::new();
    for Decoded { node, place, .. } in &decoded {
        let Some(place) = place else { continue };
        let first = first.entry(*place).or_insert_with(|| Arc::clone(node));
        if node.id() < first.id() {
            *first = Arc::clone(node);
        }
    }
    let is_first = |decoded: &Decoded| {
        decoded
            .place
            .is_none_or(|place| first[&place].id() == decoded.node.id())
    };
    Snapshot::new(decoded.into_iter().filter(is_first).map(|decoded| decoded.node))
}

/// Hands out the records of a list one by one, so that one that is bad spoils no other.
pub(crate) fn each_of(body: &[u8], each: impl FnMut(&RawValue)) -> serde_json::Result<()> {
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
    let text = str::from_utf8(body).map_or_else(|_| String::from_utf8_lossy(body), Cow::Borrowed);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    deserializer.deserialize_any(Each(each))?;
    // A list that something stands behind may have ended too early.
    deserializer.end()
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
    fn a_record_that_goes_bad_is_what_it_was_last_until_it_goes() {
        let mut decoder = Decoder::default();
        let mut decode = |list: &[Value]| {
            let snapshot = decode_with(&mut decoder, Value::from(list).to_string().as_bytes());
            let shown = snapshot
                .nodes()
                .iter()
                .map(|node| format!("{} {}", node.id(), node.address().port()));
            shown.collect::<Vec<_>>()
        };
        let (a, b) = (entry("host-1", "a", 80, 1), entry("host-1", "b", 81, 1));
        assert_eq!(decode(&[a.clone(), b.clone()]), ["a 80", "b 81"]);
        let mut of_wrong_type = entry("host-1", "b", 0, 4);
        of_wrong_type["Service"]["Tags"] = json!(7);
        for bad in [
            entry("host-1", "b", 0, 2),
            entry("host-1", "b", 70_000, 3),
            of_wrong_type,
        ] {
            assert_eq!(decode(&[a.clone(), bad.clone()]), ["a 80", "b 81"]);
            assert_eq!(decode(&[bad, a.clone()]), ["a 80", "b 81"]);
        }
        // The like at another agent is another record, of which nothing is known.
        assert_eq!(decode(&[a.clone(), entry("host-2", "b", 0, 5)]), ["a 80"]);
        assert_eq!(
            decode(&[a.clone(), entry("host-1", "b", 82, 6)]),
            ["a 80", "b 82"]
        );
        assert_eq!(decode(std::slice::from_ref(&a)), ["a 80"]);
        assert_eq!(decode(&[a, entry("host-1", "b", 0, 7)]), ["a 80"]);
    }

    #[test]
    fn a_foreign_service_that_stands_at_two_agents_is_one_node() {
        let foreign = |agent: &str, address: &str, index: u64| {
            let mut entry = entry(agent, "web", 80, index);
            entry["Service"]["Meta"] = json!({});
            entry["Service"]["Address"] = json!(address);
            entry["Node"]["Address"] = json!(format!("10.0.0.{index}"));
            entry
        };
        let same = [foreign("host-2", "10.0.9.9", 1), foreign("host-1", "10.0.9.9", 2)];
        assert_eq!(decoded(&same), ["web@host-1 80"]);
        assert_eq!(decoded(&[same[1].clone(), same[0].clone()]), ["web@host-1 80"]);
        assert_eq!(decoded(&same[..1]), ["web@host-2 80"]);
        // Each at its agent's own address.
        let like = [foreign("host-2", "", 1), foreign("host-1", "", 2)];
        assert_eq!(decoded(&like), ["web@host-1 80", "web@host-2 80"]);
    }

    const RECORDS: u64 = 2_000;

    #[test]
    fn of_a_large_list_only_what_changed_is_read_again() {
        let record = |number: u64, port: i64| {
            entry(
                &format!("host-{}", number / 100),
                &format!("node-{number}"),
                port,
                number,
            )
        };
        let mut entries: Vec<_> = (0..RECORDS).map(|number| record(number, 80)).collect();
        let mut decoder = Decoder::default();
        let mut decode =
            |entries: &[Value]| decode_with(&mut decoder, Value::from(entries).to_string().as_bytes());
        let first = decode(&entries);
        assert_eq!(first.len() as u64, RECORDS);
        for number in 500..564_u64 {
            entries[number as usize] = record(number, 81);
        }
        let changed = decode(&entries);
        // What is read makes a node of its own.
        let read_again = |before: &Snapshot, after: &Snapshot| {
            let pairs = before.nodes().iter().zip(after.nodes());
            pairs
                .filter(|(before, after)| !Arc::ptr_eq(before, after))
                .count()
        };
        assert_eq!(read_again(&first, &changed), 64);
        assert_eq!(read_again(&changed, &decode(&entries)), 0);
    }

    #[test]
    fn no_list_is_an_error_and_null_is_an_empty_one() {
        let service = "greeter".parse().unwrap();
        let skipped = SkippedRecords::new(crate::NAME);
        for body in ["", "{}", "1", "[{}", "[1,,2]", "[]]", "[] []", "null,"] {
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
