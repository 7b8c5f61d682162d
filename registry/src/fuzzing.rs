//! What holds of names and addresses whatever is written; a fuzzer writes it, and tests replay what it has found.

use std::str;

use crate::{Address, Host, ServiceName, Static};

/// An address that is taken can be called, and comes back as it is shown.
///
/// # Panics
///
/// When that does not hold.
pub fn address(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(address) = text.parse::<Address>() {
        callable(&address);
        assert_eq!(address.to_string().parse::<Address>().ok(), Some(address));
    }
    let (host, port) = text.rsplit_once(' ').unwrap_or((text, "80"));
    if let Ok(address) = Address::new(host, port.parse::<i64>().unwrap_or(80)) {
        callable(&address);
    }
    if let Ok(fixed) = text.parse::<Static>() {
        assert!(
            !format!("{fixed:?}").is_empty(),
            "a list that is taken has an address"
        );
    }
}

/// A service name that is taken is within the grammar, and comes back as it is.
///
/// # Panics
///
/// When that does not hold.
pub fn service_name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(name) = text.parse::<ServiceName>() else {
        return;
    };
    assert_eq!(name.as_str(), text);
    let is_letter = |at: &u8| at.is_ascii_alphanumeric();
    assert!(data.len() <= 63 && data.first().is_some_and(is_letter) && data.last().is_some_and(is_letter));
    assert!(
        data.iter().all(|byte| is_letter(byte) || b"._-".contains(byte)),
        "{name}"
    );
}

fn callable(address: &Address) {
    assert_ne!(address.port(), 0);
    match address.host() {
        Host::Ip(ip) => {
            assert_eq!(*ip, ip.to_canonical(), "IPv4 in IPv6 has one form");
            assert!(!ip.is_unspecified() && !ip.is_multicast(), "{ip}");
        }
        Host::Name(name) => {
            assert!(name.len() <= 253 && !name.ends_with('.'), "{name}");
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
                "{name}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    #[test]
    fn what_a_fuzzer_wrote_does_no_harm() {
        replay("address", super::address);
        replay("service_name", super::service_name);
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
