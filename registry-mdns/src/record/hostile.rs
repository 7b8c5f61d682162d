//! Announcements that somebody made to do harm: each is refused, with the reason, and none takes more than it may.

use super::*;

fn good() -> Vec<(&'static str, Vec<u8>)> {
    let pairs = [
        ("service", "greeter"),
        ("id", "a"),
        ("address", "10.0.0.7:80"),
        ("m.zone", "a"),
    ];
    pairs.map(|(key, value)| (key, value.as_bytes().to_vec())).into()
}

/// What is made of the good strings, with one of them changed.
fn changed(key: &'static str, value: impl AsRef<[u8]>) -> Result<Record> {
    let mut strings = good();
    strings.retain(|(known, _)| *known != key);
    strings.push((key, value.as_ref().to_vec()));
    read(strings.iter().map(|(key, value)| (*key, value.as_slice())), None)
}

#[test]
fn an_address_that_cannot_be_called() {
    assert!(changed("address", "10.0.0.7:80").is_ok());
    for address in [
        "",
        "10.0.0.7",
        "10.0.0.7:",
        "10.0.0.7:0",
        "10.0.0.7:-1",
        "10.0.0.7:70000",
        "0.0.0.0:80",
        "[::]:80",
        "224.0.0.251:80",
        "[ff02::fb]:80",
        "255.255.255.255:80",
        "[fe80::1]:80",
        "[fe80::1%eth0]:80",
        "::1:80",
        "10.1:80",
        "http://10.0.0.7:80",
        "unix:///run/a.sock",
        "a b:80",
        "10.0.0.7:80\r\nHost: b",
        "a\0b:80",
        "user:secret@10.0.0.7:80",
    ] {
        let error = changed("address", address).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    // What SRV and A records say is checked as well.
    let bare = || {
        good()
            .into_iter()
            .filter(|(key, _)| *key != "address")
            .collect::<Vec<_>>()
    };
    for resolved in [
        "0.0.0.0:80",
        "10.0.0.7:0",
        "224.0.0.1:80",
        "[fe80::1%2]:80",
        "[::]:80",
    ] {
        let strings = bare();
        let strings = strings.iter().map(|(key, value)| (*key, value.as_slice()));
        assert!(
            read(strings, Some(resolved.parse().unwrap())).is_err(),
            "{resolved}"
        );
    }
}

#[test]
fn text_that_is_none_and_names_that_are_none() {
    for (key, value) in [
        ("service", &b"../agent"[..]),
        ("service", b"greeter\0"),
        ("service", b"\xff"),
        ("id", b""),
        ("id", b".."),
        ("id", b"a\r\nb"),
        ("id", b"a\0b"),
        ("id", b"\xed\xa0\x80"),
        ("address", b"\xff:80"),
        ("version", b"1\x1b[31m"),
        ("version", b"\xff"),
        ("m.zone", b"a\0b"),
        ("m.zone", b"\xff"),
        ("m.%00", b"a"),
        ("m.%ff", b"a"),
        ("m.%", b"a"),
        ("m.%4", b"a"),
        ("m.", b"a"),
        ("since", b"-1"),
        ("since", b"1e3"),
        ("since", b"18446744073709551616"),
        ("rev", b"one"),
    ] {
        assert!(changed(key, value).is_err(), "{key}: {value:?}");
    }
}

#[test]
fn of_two_strings_with_one_key_the_first_counts_in_any_case() {
    let mut strings = good();
    strings.extend([("ADDRESS", b"10.0.0.9:1".to_vec()), ("Id", b"b".to_vec())]);
    let record = read(strings.iter().map(|(key, value)| (*key, value.as_slice())), None).unwrap();
    assert_eq!((record.node.id(), record.node.address().port()), ("a", 80));
}

#[test]
fn a_record_of_the_largest_packet_takes_no_more_than_a_node_may_have() {
    // 9,000 bytes are the most that mDNS sends (RFC 6762 §17); a value goes on in as many strings as there are.
    let part = vec![b'x'; 200];
    let parts: Vec<_> = (1..45).map(|part| format!("m.zone;{part}")).collect();
    let mut strings: Vec<(&str, &[u8])> =
        vec![("service", b"greeter"), ("id", b"a"), ("address", b"10.0.0.7:80")];
    strings.push(("m.zone", &part));
    strings.extend(parts.iter().map(|key| (key.as_str(), part.as_slice())));
    let error = read(strings.into_iter(), None).unwrap_err();
    assert!(
        error.to_string().contains("9000 bytes; allowed are 4096"),
        "{error}"
    );

    let keys: Vec<_> = (0..1_000).map(|number| format!("m.{number}")).collect();
    let mut strings: Vec<(&str, &[u8])> =
        vec![("service", b"greeter"), ("id", b"a"), ("address", b"10.0.0.7:80")];
    strings.extend(keys.iter().map(|key| (key.as_str(), &b""[..])));
    assert!(read(strings.into_iter(), None).is_err());
}
