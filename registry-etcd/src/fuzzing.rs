//! What holds of etcd's records whatever others wrote; a fuzzer writes it, and tests replay what it has found.

use micro_registry::ServiceName;

use crate::{keys, record};

/// A record is read without harm; the node in it stands where its id says, and comes back when it is written again.
///
/// # Panics
///
/// When that does not hold.
pub fn record(data: &[u8]) {
    let service: ServiceName = "greeter".parse().expect("a name within the grammar");
    let Ok(node) = record::decode(&service, "a", data) else {
        return;
    };
    assert_eq!((node.service(), &*keys::place(node.id())), (&service, "a"));
    if let Ok(written) = record::encode(&node) {
        assert_eq!(record::decode(&service, "a", &written).ok(), Some(node));
    }
}

/// The longest record that is read, in bytes.
pub const RECORD_LENGTH_MAX: usize = record::RECORD_LENGTH_MAX;

/// Whether there is a node in a record.
#[must_use]
pub fn has_node(data: &[u8]) -> bool {
    let service: ServiceName = "greeter".parse().expect("a name within the grammar");
    record::decode(&service, "a", data).is_ok()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_a_fuzzer_wrote_does_no_harm() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/etcd_record");
        let files: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "no corpus");
        for file in files {
            super::record(&fs::read(file).unwrap());
        }
    }
}
