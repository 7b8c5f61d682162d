//! What `build` refuses, and what it takes from where.

use std::sync::Arc;

use micro_registry::Memory;
use tokio::sync::watch;

use super::support::*;
use crate::{ErrorKind, Policy, Service, ServiceBuilder};

fn builder(variables: &[(&str, &str)]) -> ServiceBuilder {
    Service::builder("greeter").environment(variables.iter().copied())
}

/// What is said about a service that must not be.
fn refused(builder: ServiceBuilder) -> String {
    let error = builder.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    format!("{error:#}")
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_is_allowed() {
    let memory = || builder(&[("MICRO_REGISTRY", "memory")]);
    for (builder, expected) in [
        (
            Service::builder("a/b").environment::<&str, &str>([]),
            "allowed are 1 to 63 letters",
        ),
        (memory().address("9090"), "expected host:port"),
        (memory().advertise("0.0.0.0"), "expected host:port"),
        (memory().id("a b"), "has a space"),
        (memory().metadata("", "a"), "empty metadata key"),
        (
            memory().ttl(std::time::Duration::ZERO),
            "ttl is 0ns; allowed are 1s",
        ),
        (memory().streams_max(0), "`streams_max`"),
        (memory().propagate(["authorization"]), "no credentials"),
        (memory().descriptors(&b"\xff"[..]), "descriptor"),
        (
            builder(&[("MICRO_REGISTRY", "zk")]),
            "registry \"zk\" is unknown; allowed are mdns, consul",
        ),
        (builder(&[("MICRO_REGISTER_TTL", "soon")]), "MICRO_REGISTER_TTL: "),
        (
            builder(&[("MICRO_REGISTRY", "static")]),
            "expected is service=host:port",
        ),
        (memory().client(|client| client.subset(0)), "subset is 0"),
    ] {
        let message = refused(builder);
        assert!(message.contains(expected), "{message}");
    }
    let (_, twice) = World::new([]);
    let (other, _) = World::new([]);
    let message = refused(other.with_endless(twice));
    assert!(message.contains("`test.Endless` was added 2 times"), "{message}");
}

#[tokio::test]
async fn the_environment_has_the_last_word_on_who_the_service_is() {
    let builder = builder(&[
        ("MICRO_REGISTRY", "memory"),
        ("MICRO_SERVER_NAME", "orders"),
        ("MICRO_SERVER_ID", "orders-7"),
        ("MICRO_SERVER_METADATA", "zone=b"),
    ]);
    let service = builder.id("greeter-1").metadata("zone", "a").build().unwrap();
    assert_eq!((service.plan.cx.service(), service.id()), ("orders", "orders-7"));
    assert_eq!(service.plan.parts.identity.metadata["zone"], "b");
}

#[tokio::test]
async fn an_id_that_nobody_chose_is_the_name_and_eight_hex_digits() {
    let id = || {
        builder(&[("MICRO_REGISTRY", "memory")])
            .build()
            .unwrap()
            .id()
            .to_owned()
    };
    let (one, other) = (id(), id());
    assert_ne!(one, other);
    for id in [one, other] {
        let digits = id.strip_prefix("greeter-").unwrap();
        assert!(
            digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()),
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_registry_of_ones_own_is_handed_in_or_named() {
    let handed = builder(&[("MICRO_REGISTRY", "static")]).registry(Arc::new(Memory::default()));
    assert_eq!(handed.build().unwrap().client().registry_name(), "memory");
    let named =
        builder(&[("MICRO_REGISTRY", "zk")]).backend("zk", |_settings| Ok(Arc::new(Memory::default())));
    assert_eq!(named.build().unwrap().client().registry_name(), "memory");
}

#[tokio::test]
async fn the_clients_settings_come_from_code_and_then_from_the_environment() {
    let adjusted = |variables| {
        let builder = builder(variables).client(|client| {
            client
                .policy(Policy::Random)
                .request_timeout(std::time::Duration::from_secs(7))
        });
        format!("{:?}", builder.build().unwrap().client())
    };
    let shown = adjusted(&[("MICRO_REGISTRY", "memory")]);
    assert!(
        shown.contains("Random") && shown.contains("request_timeout: 7s"),
        "{shown}"
    );
    let shown = adjusted(&[
        ("MICRO_REGISTRY", "memory"),
        ("MICRO_CLIENT_REQUEST_TIMEOUT", "9s"),
    ]);
    assert!(
        shown.contains("Random") && shown.contains("request_timeout: 9s"),
        "{shown}"
    );
}

#[tokio::test]
async fn handlers_can_be_made_with_the_service_they_are_part_of() {
    let (made, mut seen) = watch::channel(String::new());
    let builder = builder(&[("MICRO_REGISTRY", "memory")]).add_service_with(move |cx| {
        made.send_replace(format!("{} by {}", cx.id(), cx.client().registry_name()));
        Endless(watch::Sender::new(0))
    });
    let _service = builder.id("greeter-1").build().unwrap();
    assert_eq!(*seen.borrow_and_update(), "greeter-1 by memory");
}
