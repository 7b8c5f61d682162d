//! The nodes of a service by their keys, made of records one by one, so that a bad one hides no other.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use micro_registry::{Error, Method, Node, Recent, ServiceName, SkippedRecords, Snapshot};

use crate::{
    keys::{self, Keys},
    record,
};

/// What stands below the key of a service; a list replaces it, an event changes one of it.
///
/// A record that was good and is bad now leaves the node that it was, until its key goes.
#[derive(Debug)]
pub(crate) struct Nodes {
    service: ServiceName,
    prefix: String,
    skipped: Arc<SkippedRecords>,
    known: Known,
    /// The last snapshot, unless nodes have come or gone since.
    last: Option<Snapshot>,
    /// What has taken the place of a node of the last snapshot, and where that stands.
    replaced: Vec<(usize, Arc<Node>)>,
    methods: Recent<Arc<[Method]>>,
    hasher: RandomState,
}

/// A list that is not complete yet.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    known: Known,
}

/// By the last part of the key.
type Known = HashMap<Box<str>, Decoded>;

/// A node, the hash of the record that it was made of, and where it stands in the last snapshot.
#[derive(Clone, Debug)]
struct Decoded {
    node: Arc<Node>,
    hash: u64,
    position: usize,
}

impl Nodes {
    /// None yet of `service`.
    pub(crate) fn new(service: ServiceName, keys: &Keys, skipped: Arc<SkippedRecords>) -> Self {
        Self {
            prefix: keys.service(&service),
            service,
            skipped,
            known: Known::new(),
            last: None,
            replaced: Vec::new(),
            methods: Recent::default(),
            hasher: RandomState::new(),
        }
    }

    pub(crate) fn service(&self) -> &ServiceName {
        &self.service
    }

    /// How all keys begin.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All of them.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        let replaced = self.replaced.drain(..);
        let snapshot = match &self.last {
            Some(last) => last.with(replaced),
            None => {
                let mut known: Vec<_> = self.known.values_mut().collect();
                known.sort_by(|a, b| a.node.id().cmp(b.node.id()));
                Snapshot::new(known.into_iter().enumerate().map(|(position, decoded)| {
                    decoded.position = position;
                    Arc::clone(&decoded.node)
                }))
            }
        };
        self.last = Some(snapshot.clone());
        snapshot
    }

    /// Adds a record to a list that shall replace what is known.
    pub(crate) fn add(&mut self, draft: &mut Draft, key: &[u8], record: &[u8]) {
        if let Some(place) = self.place(key)
            && let Some(decoded) = self.decoded(place, record)
        {
            draft.known.insert(place.into(), decoded);
        }
    }

    /// Skips the record at `key`, of which nobody has seen more than that it is too long; what it was stays.
    pub(crate) fn add_unread(&self, draft: &mut Draft, key: &[u8], most: usize) {
        let error = record::too_long(&format!("more than {most}"));
        self.skipped.skip(&String::from_utf8_lossy(key), &error);
        if let Some((place, last)) = self.place(key).and_then(|place| self.known.get_key_value(place)) {
            draft.known.insert(place.clone(), last.clone());
        }
    }

    /// Replaces what is known by a list that is complete.
    pub(crate) fn replace(&mut self, draft: Draft) {
        self.known = draft.known;
        self.begin_anew();
    }

    /// The record at `key` is `record` now; whether that changes a node.
    pub(crate) fn put(&mut self, key: &[u8], record: &[u8]) -> bool {
        let Some(place) = self.place(key) else {
            return false;
        };
        let room = self.replaced.len() < self.known.len();
        let hash = self.hasher.hash_one(record);
        let last = self.known.get_mut(place);
        if last.as_ref().is_some_and(|last| last.hash == hash) {
            return false;
        }
        let node = match record::decode_of(&self.service, place, record, &mut self.methods) {
            Ok(node) => node,
            Err(error) => {
                self.skip(place, &error);
                return false;
            }
        };
        match last {
            Some(last) if *last.node == node => {
                last.hash = hash;
                return false;
            }
            Some(last) if last.node.id() == node.id() && room => {
                (last.node, last.hash) = (Arc::new(node), hash);
                self.replaced.push((last.position, Arc::clone(&last.node)));
            }
            _ => {
                self.known.insert(place.into(), Decoded::new(node, hash));
                self.begin_anew();
            }
        }
        true
    }

    /// The record at `key` is gone; whether there was a node.
    pub(crate) fn delete(&mut self, key: &[u8]) -> bool {
        let place = keys::place_in(&self.prefix, key);
        let was_there = place.is_some_and(|place| self.known.remove(place).is_some());
        if was_there {
            self.begin_anew();
        }
        was_there
    }

    /// The next snapshot is made of all that is known.
    fn begin_anew(&mut self) {
        self.last = None;
        self.replaced.clear();
    }

    fn place<'a>(&self, key: &'a [u8]) -> Option<&'a str> {
        let place = keys::place_in(&self.prefix, key);
        if place.is_none() {
            let error = record::misplaced();
            self.skipped.skip(&String::from_utf8_lossy(key), &error);
        }
        place
    }

    /// The node of a record in a list; the same as before if nothing has changed, or if the record is bad.
    fn decoded(&mut self, place: &str, record: &[u8]) -> Option<Decoded> {
        let last = self.known.get(place);
        let hash = self.hasher.hash_one(record);
        if let Some(last) = last
            && last.hash == hash
        {
            return Some(last.clone());
        }
        match record::decode_of(&self.service, place, record, &mut self.methods) {
            Ok(node) => Some(match last {
                Some(last) if *last.node == node => Decoded { hash, ..last.clone() },
                _ => Decoded::new(node, hash),
            }),
            Err(error) => {
                self.skip(place, &error);
                last.cloned()
            }
        }
    }

    fn skip(&self, place: &str, error: &Error) {
        self.skipped.skip(&format!("{}{place}", self.prefix), error);
    }
}

impl Decoded {
    fn new(node: Node, hash: u64) -> Self {
        Self {
            node: Arc::new(node),
            hash,
            position: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFIX: &str = "/micro/registry/greeter/";

    fn nodes() -> Nodes {
        let skipped = Arc::new(SkippedRecords::new(crate::NAME));
        Nodes::new("greeter".parse().unwrap(), &Keys::default(), skipped)
    }

    fn key(place: &str) -> Vec<u8> {
        format!("{PREFIX}{place}").into_bytes()
    }

    fn record(port: u16) -> Vec<u8> {
        format!(r#"{{"nodes":[{{"address":"10.0.0.7:{port}"}}]}}"#).into_bytes()
    }

    fn list(nodes: &mut Nodes, records: &[(&str, &[u8])]) {
        let mut draft = Draft::default();
        for (place, record) in records {
            nodes.add(&mut draft, &key(place), record);
        }
        nodes.replace(draft);
    }

    fn shown(nodes: &mut Nodes) -> Vec<String> {
        let snapshot = nodes.snapshot();
        let all = snapshot.nodes().iter();
        all.map(|node| format!("{} {}", node.id(), node.address().port()))
            .collect()
    }

    #[test]
    fn a_list_replaces_all_and_an_event_one() {
        let mut nodes = nodes();
        list(&mut nodes, &[("b", &record(2)), ("a", &record(1))]);
        assert_eq!(shown(&mut nodes), ["a 1", "b 2"]);
        assert!(nodes.put(&key("c"), &record(3)));
        assert!(nodes.put(&key("a"), &record(4)));
        assert!(nodes.delete(&key("b")));
        assert_eq!(shown(&mut nodes), ["a 4", "c 3"]);
        list(&mut nodes, &[("d", &record(5))]);
        assert_eq!(shown(&mut nodes), ["d 5"]);
    }

    #[test]
    fn what_changes_nothing_says_so_and_stays_the_same_node() {
        let mut nodes = nodes();
        list(&mut nodes, &[("a", &record(1))]);
        let before = nodes.snapshot();
        assert!(!nodes.put(&key("a"), &record(1)));
        let respelled = [b" ".to_vec(), record(1)].concat();
        assert!(!nodes.put(&key("a"), &respelled));
        assert!(!nodes.delete(&key("b")));
        list(&mut nodes, &[("a", &record(1))]);
        assert!(Arc::ptr_eq(&before.nodes()[0], &nodes.snapshot().nodes()[0]));
    }

    #[test]
    fn a_bad_record_hides_no_other_in_a_list_and_in_events() {
        let mut nodes = nodes();
        let long = vec![b'x'; 3 * 1024 * 1024];
        let bad: [&[u8]; 6] = [b"", b"null", b"\xff", b"[[", b"\0", &long];
        let list: Vec<_> = bad.iter().map(|bad| ("bad", *bad)).collect();
        let good = record(1);
        self::list(
            &mut nodes,
            &[&[("a", &good[..])], &list[..], &[("z", &good[..])]].concat(),
        );
        assert_eq!(shown(&mut nodes), ["a 1", "z 1"]);
        for bad in bad {
            assert!(!nodes.put(&key("b"), bad));
        }
        for key in [
            &key("a/b")[..],
            &key(""),
            b"",
            b"/micro/registry/greeter-v2/a",
            &[255],
        ] {
            assert!(!nodes.put(key, &record(1)));
            assert!(!nodes.delete(key));
        }
        assert_eq!(shown(&mut nodes), ["a 1", "z 1"]);
    }

    #[test]
    fn of_a_hundred_thousand_records_the_good_ones_are_nodes() {
        let (mut nodes, mut draft) = (nodes(), Draft::default());
        for number in 0..100_000 {
            let record = if number % 10 == 0 {
                b"bad".to_vec()
            } else {
                record(80)
            };
            nodes.add(&mut draft, &key(&format!("node-{number}")), &record);
        }
        nodes.replace(draft);
        assert_eq!(nodes.snapshot().len(), 90_000);
    }

    #[test]
    fn a_record_that_has_gone_bad_leaves_the_node_that_it_was_until_its_key_goes() {
        let mut nodes = nodes();
        list(&mut nodes, &[("a", &record(1)), ("b", &record(2))]);
        assert!(!nodes.put(&key("a"), b"bad"));
        assert_eq!(shown(&mut nodes), ["a 1", "b 2"]);
        list(&mut nodes, &[("a", b"bad"), ("b", b"worse")]);
        assert_eq!(shown(&mut nodes), ["a 1", "b 2"]);
        let mut draft = Draft::default();
        for place in ["a", "c"] {
            nodes.add_unread(&mut draft, &key(place), 8);
        }
        nodes.replace(draft);
        assert_eq!(shown(&mut nodes), ["a 1"]);
        assert!(nodes.put(&key("a"), &record(3)));
        assert!(!nodes.put(&key("a"), b"bad again"));
        assert!(nodes.delete(&key("a")));
        assert!(!nodes.put(&key("a"), b"bad again"));
        assert_eq!(shown(&mut nodes), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hide_a_good_record(
            foreign in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 2),
            place in "[^/]{1,5}",
        ) {
            let mut nodes = nodes();
            nodes.put(&key("good"), &record(1));
            nodes.put(&foreign[0], &foreign[1]);
            nodes.put(&key(&place), &foreign[1]);
            nodes.delete(&foreign[0]);
            prop_assert_eq!(shown(&mut nodes), ["good 1"]);
        }
    }
}
