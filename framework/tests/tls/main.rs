//! TLS between services, with certificates that the tests sign.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod callers;
mod support;
mod system;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::yield_now,
    time::timeout,
};

use self::support::{Authority, LONG, World, call, connect, failed};

const NODE: &str = "[server.tls]\ncertificate_file = 'DIR/node.pem'\nkey_file = 'DIR/node.key'\n";
const TRUSTING: &str = "[client.tls]\nca_file = 'DIR/ca.pem'\n";

/// A node that knows its callers.
fn mutual(more: &str) -> String {
    format!("{NODE}client_ca_file = 'DIR/ca.pem'\n{more}")
}

/// A client that shows `name.pem`.
fn showing(name: &str) -> String {
    format!("{TRUSTING}certificate_file = 'DIR/{name}.pem'\nkey_file = 'DIR/{name}.key'\n")
}

#[tokio::test]
async fn a_node_with_a_certificate_is_called_over_tls_by_who_trusts_it() {
    let mut world = World::new();
    world.start("greeter", NODE).await;
    let client = world.client(TRUSTING).await;
    call(&client).await.unwrap();
    let snapshot = client.snapshot("greeter").await.unwrap();
    assert!(snapshot.nodes()[0].wants_tls());

    let by_name = format!("{TRUSTING}server_name = '{{service}}.internal'");
    call(&world.client(&by_name).await).await.unwrap();
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_over_tls_and_nothing_without() {
    let mut world = World::new();
    let (address, _) = world.start("greeter", NODE).await;
    let request = b"GET /ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let mut io = connect(&world.authority, address, "http/1.1").await.unwrap();
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    io.write_all(request).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let io = connect(&world.authority, address, "h2").await.unwrap();
    assert_eq!(io.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // A protocol that is not there is refused, rather than answered with another.
    assert!(connect(&world.authority, address, "h3").await.is_err());

    let mut io = TcpStream::connect(address).await.unwrap();
    io.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Closed or reset; an alert of TLS may come before that.
    let _ = timeout(LONG, io.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_node_is_asked_for_its_pages_over_tls_too() {
    let mut world = World::new();
    world.start("greeter", &mutual("")).await;
    let client = world.client(&showing("caller")).await;
    let snapshot = client.snapshot("greeter").await.unwrap();
    let mut io = client.connect(&snapshot.nodes()[0]).await.unwrap();
    let request = b"GET /ready HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    io.write_all(request).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, io.read_to_string(&mut answer))
        .await
        .unwrap()
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_node_that_is_not_trusted_is_not_called_and_the_reason_is_told() {
    let mut world = World::new();
    world.start("greeter", NODE).await;
    world.write("other.pem", &Authority::new().pem());
    for (config, reason) in [
        ("", "for which `client.tls` is not set"),
        ("[client.tls]\nca_file = 'DIR/other.pem'", "UnknownIssuer"),
        (
            "[client.tls]\nca_file = 'DIR/ca.pem'\nserver_name = 'elsewhere'",
            "not valid for name",
        ),
    ] {
        let message = failed(&world.client(config).await).await;
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn calls_go_to_the_nodes_that_can_be_trusted() {
    let mut world = World::new();
    world.start("greeter", NODE).await;
    world.issue(&Authority::new(), "stranger", &["127.0.0.1"]);
    world.start("greeter", &NODE.replace("node.", "stranger.")).await;
    let client = world.client(TRUSTING).await;
    for _ in 0..50 {
        call(&client).await.unwrap();
    }
}

#[tokio::test]
async fn nodes_without_tls_are_called_only_where_that_is_allowed() {
    let mut world = World::new();
    world.start("greeter", "").await;
    assert!(failed(&world.client(TRUSTING).await).await.contains("over TLS"));
    let allowed = world.client(&format!("{TRUSTING}plaintext = true")).await;
    call(&allowed).await.unwrap();
    // The other node asks for TLS, and gets it.
    let mut world = World::new();
    world.start("greeter", NODE).await;
    let allowed = world.client(&format!("{TRUSTING}plaintext = true")).await;
    call(&allowed).await.unwrap();
}

#[tokio::test]
async fn only_callers_whose_certificate_is_known_and_for_the_right_name_are_let_in() {
    let mut world = World::new();
    world.issue(&Authority::new(), "stranger", &["orders"]);
    world.issue(&world.authority, "billing", &["billing"]);
    world
        .start("greeter", &mutual("client_names = ['orders', 'gateway']"))
        .await;
    call(&world.client(&showing("caller")).await).await.unwrap();
    for (config, reason) in [
        (TRUSTING.to_owned(), "CertificateRequired"),
        (showing("stranger"), "UnknownCA"),
        (showing("billing"), "AccessDenied"),
    ] {
        let message = failed(&world.client(&config).await).await;
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn without_names_any_caller_is_let_in_whose_certificate_is_known() {
    let mut world = World::new();
    world.issue(&world.authority, "billing", &["billing"]);
    world.start("greeter", &mutual("")).await;
    call(&world.client(&showing("billing")).await).await.unwrap();
}

#[tokio::test]
async fn certificates_that_are_replaced_are_used_without_a_restart() {
    let mut world = World::new();
    let (address, _) = world.start("greeter", NODE).await;
    connect(&world.authority, address, "h2").await.unwrap();
    // A certificate that cannot be used takes none away.
    world.write("node.pem", "half a file");
    connect(&world.authority, address, "h2").await.unwrap();
    let next = Authority::new();
    world.issue(&next, "node", &["127.0.0.1"]);
    let replaced = async {
        while connect(&next, address, "h2").await.is_err() {
            yield_now().await;
        }
    };
    timeout(LONG, replaced).await.unwrap();
    assert!(connect(&world.authority, address, "h2").await.is_err());
    // A client learns of the authority in the same way.
    world.write("ca.pem", &next.pem());
    call(&world.client(TRUSTING).await).await.unwrap();
}

#[tokio::test]
async fn peers_that_do_not_finish_their_handshake_hold_up_nobody_else() {
    let mut world = World::new();
    let config = format!("[server]\nhandshake_timeout = '1h'\n{NODE}handshakes_max = 4\n");
    let (address, _) = world.start("greeter", &config).await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let client = world.client(TRUSTING).await;
    call(&client).await.unwrap();
    // All but the last few had to make room: nothing else closes them before the hour is over.
    for io in &mut silent[..32] {
        let closed = timeout(LONG, io.read(&mut [0])).await.unwrap();
        assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_ended() {
    let mut world = World::new();
    let config = format!("[server]\nhandshake_timeout = '50ms'\n{NODE}");
    let (address, _) = world.start("greeter", &config).await;
    let mut io = TcpStream::connect(address).await.unwrap();
    // The beginning of a ClientHello.
    io.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    let closed = timeout(LONG, io.read(&mut [0])).await.unwrap();
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn what_cannot_be_used_is_told_before_anything_listens() {
    let world = World::new();
    world.write("empty.pem", "");
    let swapped = NODE.replace("node.key", "caller.key");
    let with = |more: &str| format!("{NODE}{more}");
    for (config, reasons) in [
        (
            "[server.tls]\nkey_file = 'DIR/node.key'",
            &["are set together", "server.tls.certificate_file"][..],
        ),
        ("[server.tls]\nhandshakes_max = 1", &["needs a certificate"]),
        (
            &NODE.replace("node.pem", "none.pem"),
            &["set up server.tls", "none.pem"],
        ),
        (
            &NODE.replace("node.pem", "empty.pem"),
            &["empty.pem", "there are none"],
        ),
        (
            &NODE.replace("node.key", "node.pem"),
            &["private key", "node.pem"],
        ),
        (&swapped, &["use the certificate of", "node.pem"]),
        (
            &with("handshakes_max = 0"),
            &["handshakes_max: 0 is out of range", "at least 1"],
        ),
        (&with("client_names = ['a']"), &["client_ca_file"]),
        (
            &mutual("client_names = ['a b']"),
            &["\"a b\"", "neither a DNS name"],
        ),
        (&with("client_ca_file = 'DIR/empty.pem'"), &["empty.pem"]),
        (&with("protocols = 'h2'"), &["unknown key `protocols`"]),
        ("[client.tls]\nplaintext = true", &["client.tls.ca_file"]),
        (
            "[client.tls]\nca_file = 'DIR/ca.pem'\nsystem_authorities = true",
            &["exclude each other"],
        ),
        (
            "[client.tls]\nca_file = 'DIR/none.pem'",
            &["set up client.tls", "none.pem"],
        ),
        (
            "[client.tls]\nca_file = 'DIR/ca.pem'\nserver_name = '{name}'",
            &["client.tls.server_name", "{service}"],
        ),
        (
            "[client.tls]\nca_file = 'DIR/ca.pem'\nkey_file = 'DIR/node.key'",
            &["client.tls.certificate_file"],
        ),
    ] {
        let message = world.refused(config);
        for reason in reasons {
            assert!(message.contains(reason), "{config}\n{message}");
        }
        assert!(!message.contains("PRIVATE KEY"), "{message}");
    }
}
