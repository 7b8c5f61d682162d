//! What holds of addresses whatever is written.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use micro_registry::{Address, Host};
use proptest::prelude::*;

proptest! {
    #[test]
    fn nothing_that_is_written_panics(text in any::<String>(), port in any::<i64>()) {
        let _ = text.parse::<Address>();
        let _ = Address::new(&text, port);
    }

    #[test]
    fn what_looks_like_an_address_never_panics(text in r"\[?[0-9a-fA-Fx:.%_@/-]{0,24}\]?:?[-+0-9]{0,6}") {
        callable(&text)?;
    }

    #[test]
    fn ipv4_like_text_is_ipv4_or_refused(text in r"[0-9.x]{1,16}:[1-9][0-9]{0,3}") {
        if let Ok(address) = text.parse::<Address>() {
            prop_assert!(address.socket_addr().is_some() || text.contains('x'), "{}", address);
        }
        callable(&text)?;
    }

    #[test]
    fn every_address_of_one_host_is_taken(ip in any::<IpAddr>(), port in 1..=u16::MAX) {
        let socket = SocketAddr::new(ip, port);
        match Address::try_from(socket) {
            Ok(address) => {
                prop_assert_eq!(address.socket_addr().unwrap().ip(), ip.to_canonical());
                callable(&address.to_string())?;
                prop_assert_eq!(socket.to_string().parse::<Address>().unwrap(), address);
            }
            Err(_) => prop_assert!(names_no_host(ip.to_canonical()), "{}", ip),
        }
    }

    #[test]
    fn host_names_are_taken(
        labels in prop::collection::vec("[a-zA-Z_][a-zA-Z0-9_]{0,20}(-[a-zA-Z0-9_]{1,20}){0,2}", 1..4),
        port in 1..=u16::MAX,
    ) {
        let name = labels.join(".");
        let address = Address::new(&name, port).unwrap();
        prop_assert_eq!(address.to_string(), format!("{}:{port}", name.to_lowercase()));
        callable(&address.to_string())?;
    }
}

/// What is taken has a socket address or a host name, and reading what it is shown as gives it again.
fn callable(text: &str) -> Result<(), TestCaseError> {
    let Ok(address) = text.parse::<Address>() else {
        return Ok(());
    };
    let port = address.port();
    prop_assert_ne!(port, 0);
    match address.host() {
        Host::Ip(ip) => {
            prop_assert!(!names_no_host(*ip), "{}", ip);
            prop_assert_eq!(address.socket_addr(), Some(SocketAddr::new(*ip, port)));
            prop_assert_eq!(address.to_string(), SocketAddr::new(*ip, port).to_string());
        }
        Host::Name(name) => {
            prop_assert!(is_host_name(name), "{:?}", name);
            prop_assert!(name.parse::<IpAddr>().is_err());
            prop_assert_eq!(address.socket_addr(), None);
        }
        other => prop_assert!(false, "a host of a new kind: {:?}", other),
    }
    let again = [
        address.to_string().parse().ok(),
        Address::new(&address.host().to_string(), port).ok(),
    ];
    prop_assert_eq!(again, [Some(address.clone()), Some(address)]);
    Ok(())
}

fn names_no_host(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_multicast() || ip == Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local(),
    }
}

fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}
