//! What holds of announcements whatever others send; a fuzzer writes it, and tests replay what it has found.

use std::{net::SocketAddr, str};

use crate::record::{self, Record};

/// A TXT record, as it is on the wire, is read without harm; what is in it comes back when it is written again.
///
/// # Panics
///
/// When that does not hold.
pub fn txt(data: &[u8]) {
    let strings = strings(data);
    for resolved in [None, Some(SocketAddr::from(([10, 0, 0, 1], 80)))] {
        let pairs = strings.iter().map(|(key, value)| (*key, *value));
        if let Ok(read) = record::read(pairs, resolved) {
            comes_back(&read);
        }
    }
}

fn comes_back(record: &Record) {
    // What was read may take more room when it is written, and then is too long.
    if let Ok(written) = record::encode(record) {
        let pairs = written
            .iter()
            .map(|string| (string.key(), string.val().unwrap_or_default()));
        assert_eq!(record::read(pairs, None).ok().as_ref(), Some(record));
    }
}

/// The strings of a record: each behind a byte with its length (RFC 1035 §3.3.14), key and value parted by the first `=`.
fn strings(mut data: &[u8]) -> Vec<(&str, &[u8])> {
    let mut strings = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (string, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        let end = string
            .iter()
            .position(|byte| *byte == b'=')
            .unwrap_or(string.len());
        // mdns-sd hands out no key that is no text.
        if let Ok(key) = str::from_utf8(&string[..end]) {
            strings.push((key, string.get(end + 1..).unwrap_or_default()));
        }
        data = rest;
    }
    strings
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_a_fuzzer_wrote_does_no_harm() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/mdns_txt");
        let files: Vec<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "no corpus");
        for file in files {
            super::txt(&fs::read(file).unwrap());
        }
    }
}
