//! Every form of address that a registry may hold, and what becomes of it.

use std::net::SocketAddr;

use micro_registry::{Address, ErrorKind, Static};

/// What is written, and what it is read as.
const TAKEN: &[(&str, &str)] = &[
    ("127.0.0.1:1", "127.0.0.1:1"),
    ("10.0.0.7:50051", "10.0.0.7:50051"),
    ("10.0.0.7:65535", "10.0.0.7:65535"),
    ("169.254.1.2:80", "169.254.1.2:80"),
    ("240.0.0.1:80", "240.0.0.1:80"),
    ("10.0.0.7:00080", "10.0.0.7:80"),
    ("[::1]:9090", "[::1]:9090"),
    ("[2001:DB8:0:0::0001]:9090", "[2001:db8::1]:9090"),
    ("[fd00::7]:9090", "[fd00::7]:9090"),
    ("[::ffff:10.0.0.7]:9090", "10.0.0.7:9090"),
    ("[::ffff:7f00:1]:9090", "127.0.0.1:9090"),
    ("localhost:9090", "localhost:9090"),
    ("LocalHost:9090", "localhost:9090"),
    ("host.docker.internal:9090", "host.docker.internal:9090"),
    (
        "greeter.default.svc.cluster.local:9090",
        "greeter.default.svc.cluster.local:9090",
    ),
    ("my_container:9090", "my_container:9090"),
    ("_grpc._tcp.example:9090", "_grpc._tcp.example:9090"),
    ("3f2a9bc1d2e3:9090", "3f2a9bc1d2e3:9090"),
    ("node-1.2nd:9090", "node-1.2nd:9090"),
    ("0xyz:9090", "0xyz:9090"),
    ("xn--bcher-kva.example:9090", "xn--bcher-kva.example:9090"),
    ("a:9090", "a:9090"),
    // A host may have this name; it is no scheme here.
    ("unix:80", "unix:80"),
];

/// What is refused, and a piece of the reason.
const REFUSED: &[(&str, &str)] = &[
    // No port, or one that nobody can call.
    ("", "no port"),
    ("10.0.0.7", "no port"),
    ("localhost", "no port"),
    ("10.0.0.7:", "port"),
    ("10.0.0.7:0", "1 to 65535"),
    ("10.0.0.7:00000", "1 to 65535"),
    ("10.0.0.7:65536", "1 to 65535"),
    ("10.0.0.7:70000", "1 to 65535"),
    ("10.0.0.7:4294967376", "port"),
    ("10.0.0.7:-1", "port"),
    ("10.0.0.7:+80", "port"),
    ("10.0.0.7:80.0", "port"),
    ("10.0.0.7:0x50", "port"),
    ("10.0.0.7:8e1", "port"),
    ("10.0.0.7:http", "port"),
    ("10.0.0.7: 80", "port"),
    ("10.0.0.7:80 ", "port"),
    ("10.0.0.7:80\t", "port"),
    ("10.0.0.7:80\r\n", "port"),
    ("10.0.0.7:80\0", "port"),
    ("10.0.0.7:８０", "port"),
    ("10.0.0.7:٨٠", "port"),
    // No host.
    (":80", "no host"),
    ("[]:80", "brackets"),
    // IPv4 that names no single host.
    ("0.0.0.0:80", "unspecified"),
    ("0.0.0.1:80", "unspecified"),
    ("224.0.0.251:5353", "multicast"),
    ("239.255.255.255:80", "multicast"),
    ("255.255.255.255:80", "broadcast"),
    // Numbers that resolvers read in ways of their own.
    ("10.1:80", "IPv4"),
    ("10.0.0:80", "IPv4"),
    ("10.0.0.7.1:80", "IPv4"),
    ("010.0.0.7:80", "IPv4"),
    ("10.0.0.07:80", "IPv4"),
    ("256.0.0.1:80", "IPv4"),
    ("2130706433:80", "IPv4"),
    ("0:80", "IPv4"),
    ("0x7f000001:80", "IPv4"),
    ("0x7f.1:80", "IPv4"),
    ("0x7f.0x1:80", "IPv4"),
    ("0x:80", "IPv4"),
    ("0X7F.0X1:80", "IPv4"),
    ("10.0.0.-1:80", "neither"),
    ("10.0.0.+1:80", "neither"),
    ("10.0.0.7/24:80", "neither"),
    ("1０.0.0.7:80", "IPv4"),
    ("１０.０.０.７:80", "neither"),
    ("10。0。0。7:80", "neither"),
    ("greeter.7:80", "IPv4"),
    // IPv6 that names no single host, or is not written with brackets.
    ("[::]:80", "unspecified"),
    ("[::ffff:0.0.0.0]:80", "unspecified"),
    ("[ff02::fb]:5353", "multicast"),
    ("[::ffff:224.0.0.1]:80", "multicast"),
    ("[::ffff:255.255.255.255]:80", "broadcast"),
    ("[fe80::1]:80", "link-local"),
    ("[fe80::1%eth0]:80", "zone"),
    ("[fe80::1%251]:80", "zone"),
    ("[::1%lo]:80", "zone"),
    ("::1:80", "brackets"),
    ("2001:db8::1:80", "brackets"),
    ("::", "port"),
    ("::1", "brackets"),
    ("[::1]", "port"),
    ("[::1]80", "port"),
    ("[::1]:", "port"),
    ("[::1]:0", "1 to 65535"),
    ("[[::1]]:80", "IPv6"),
    ("[::1:80", "brackets"),
    ("::1]:80", "brackets"),
    ("[::g]:80", "IPv6"),
    ("[:::1]:80", "IPv6"),
    ("[1:2:3:4:5:6:7:8:9]:80", "IPv6"),
    ("[10.0.0.7]:80", "brackets"),
    ("[localhost]:80", "brackets"),
    // More than host and port.
    ("http://10.0.0.7:80", "host:port"),
    ("https://greeter:443", "host:port"),
    ("dns:///greeter:80", "host:port"),
    ("//10.0.0.7:80", "IPv4"),
    ("10.0.0.7:80/", "port"),
    ("10.0.0.7:80/path", "port"),
    ("10.0.0.7:80?a=b", "port"),
    ("10.0.0.7:80#a", "port"),
    ("10.0.0.7:80:80", "host:port"),
    ("10.0.0.7:80,10.0.0.8:80", "host:port"),
    ("ada@10.0.0.7:80", "IPv4"),
    ("ada:secret@10.0.0.7:80", "host:port"),
    ("unix:/run/greeter.sock", "port"),
    ("unix:///run/greeter.sock", "port"),
    ("/run/greeter.sock", "no port"),
    ("/run/greeter.sock:80", "neither"),
    ("@greeter:80", "neither"),
    ("C:\\greeter:80", "host:port"),
    ("../greeter:80", "neither"),
    // Host names that are none.
    (" localhost:80", "neither"),
    ("local host:80", "neither"),
    ("localhost :80", "neither"),
    ("local\thost:80", "neither"),
    ("localhost\r\n:80", "neither"),
    ("localhost\r\nX-Evil: 1:80", "host:port"),
    ("local\0host:80", "neither"),
    ("local\u{7f}host:80", "neither"),
    ("local\u{200b}host:80", "neither"),
    ("loc\u{430}lhost:80", "neither"),
    ("b\u{fc}cher.example:80", "neither"),
    ("localhost.:80", "neither"),
    (".:80", "neither"),
    (".localhost:80", "neither"),
    ("a..b:80", "neither"),
    ("-a:80", "neither"),
    ("a-:80", "neither"),
    ("a.-b:80", "neither"),
    ("a%2eb:80", "neither"),
    ("a*b:80", "neither"),
    ("*:80", "neither"),
    ("a;b:80", "neither"),
    ("a\"b:80", "neither"),
    ("$(id):80", "neither"),
];

#[test]
fn what_can_be_called_is_taken_and_has_one_form() {
    for (text, form) in TAKEN {
        let address: Address = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(address.to_string(), *form, "{text:?}");
        assert_eq!(format!("{address:?}"), *form, "{text:?}");
        assert_eq!(form.parse::<Address>().unwrap(), address, "{text:?}");
    }
}

#[test]
fn what_cannot_be_called_is_refused_with_a_reason() {
    let wrong: Vec<_> = REFUSED
        .iter()
        .filter_map(|(text, reason)| refused_otherwise(text, reason))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong with how `text` is refused.
fn refused_otherwise(text: &str, reason: &str) -> Option<String> {
    let error = match text.parse::<Address>() {
        Ok(address) => return Some(format!("{text:?} was taken as {address}")),
        Err(error) => error,
    };
    let said = error.to_string();
    let is_good = error.kind() == ErrorKind::InvalidArgument
        && said.contains(reason)
        && !said.contains(char::is_control);
    (!is_good).then(|| format!("{reason:?} expected: {said}"))
}

#[test]
fn a_host_and_a_port_apart_are_read_by_the_same_rules() {
    for (host, form) in [
        ("10.0.0.7", "10.0.0.7:80"),
        ("::1", "[::1]:80"),
        ("::ffff:10.0.0.7", "10.0.0.7:80"),
        ("Greeter", "greeter:80"),
    ] {
        assert_eq!(Address::new(host, 80).unwrap().to_string(), form);
    }
    for port in [i64::MIN, -1, 0, 65_536, 70_000, i64::MAX] {
        let error = Address::new("10.0.0.7", port).unwrap_err();
        assert!(error.to_string().contains(&format!("port {port}")), "{error}");
    }
    for host in [
        "",
        "0.0.0.0",
        "[::1]",
        "10.0.0.7:80",
        "fe80::1%eth0",
        "host name with space",
        "http://evil/",
    ] {
        assert!(Address::new(host, 80).is_err(), "{host:?}");
    }
}

#[test]
fn a_host_name_has_as_many_characters_as_dns_allows() {
    let label = "a".repeat(63);
    let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(longest.len(), 253);
    assert!(Address::new(&longest, 80).is_ok());
    assert!(Address::new(&format!("{longest}a"), 80).is_err());
    assert!(Address::new(&"a".repeat(64), 80).is_err());
}

#[test]
fn socket_addresses_are_read_by_the_same_rules() {
    for text in ["10.0.0.7:80", "[2001:db8::1]:80"] {
        let socket: SocketAddr = text.parse().unwrap();
        let address = Address::try_from(socket).unwrap();
        assert_eq!(address.to_string(), text);
        assert_eq!(address.socket_addr(), Some(socket));
    }
    for text in [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.7:0",
        "[fe80::1%3]:80",
        "[2001:db8::1%3]:80",
    ] {
        assert!(
            Address::try_from(text.parse::<SocketAddr>().unwrap()).is_err(),
            "{text}"
        );
    }
}

#[test]
fn loopback_is_what_no_other_host_can_call() {
    let is_loopback = |text: &str| text.parse::<Address>().unwrap().is_loopback();
    for text in [
        "127.0.0.1:1",
        "127.9.9.9:1",
        "[::1]:1",
        "[::ffff:127.0.0.1]:1",
        "localhost:1",
        "a.LOCALHOST:1",
    ] {
        assert!(is_loopback(text), "{text}");
    }
    for text in [
        "10.0.0.7:1",
        "[fd00::1]:1",
        "greeter:1",
        "notlocalhost:1",
        "localhost.example:1",
    ] {
        assert!(!is_loopback(text), "{text}");
    }
}

#[test]
fn an_error_has_no_secret_and_no_end_of_line() {
    for text in [
        "ada:secret@10.0.0.7:80",
        "https://ada:secret@greeter:443/",
        "secret@secret@greeter/:443",
        "http://greeter:80/?token=secret",
        "http://greeter:80/#secret",
        "https://ada:p?secret@greeter:443",
    ] {
        let error = text.parse::<Address>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let error = format!("{}\r\n:80", "a".repeat(10_000))
        .parse::<Address>()
        .unwrap_err();
    assert!(error.to_string().len() < 300, "{error}");
}

#[test]
fn a_fixed_list_takes_no_address_that_is_refused() {
    // Spaces around an address and commas between two are the list's own.
    let lone = REFUSED
        .iter()
        .filter(|(text, _)| text.trim() == *text && !text.contains(','));
    for (text, _) in lone {
        let list = format!("greeter=10.0.0.7:80,greeter={text}");
        let error = list.parse::<Static>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{text:?}");
    }
}
