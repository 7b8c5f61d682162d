//! Tests of the directory, without a network.

use std::net::Ipv4Addr;

use mdns_sd::{InterfaceId, ScopedIp, ScopedIpV4, ServiceInfo};
use tokio::time;

use super::*;
use crate::daemon::SERVICE_TYPE;

fn resolved(label: &str, text: &[(&str, &str)]) -> ResolvedService {
    let info = ServiceInfo::new(SERVICE_TYPE, label, "host.local.", "127.0.0.1", 80, text);
    info.unwrap().as_resolved_service()
}

fn node(label: &str, id: &str, boot: &str, since: &str) -> ResolvedService {
    let text = [
        ("service", "greeter"),
        ("id", id),
        ("since", since),
        ("m.micro-boot", boot),
    ];
    resolved(label, &text)
}

fn name(label: &str) -> String {
    format!("{label}.{SERVICE_TYPE}")
}

fn boots(directory: &Directory) -> Vec<(String, String)> {
    let snapshot = directory.nodes(&greeter());
    let nodes = snapshot.nodes().iter();
    nodes
        .map(|node| (node.id().to_owned(), node.boot().to_owned()))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(id, boot)| ((*id).to_owned(), (*boot).to_owned()))
        .collect()
}

fn greeter() -> ServiceName {
    "greeter".parse().unwrap()
}

#[tokio::test]
async fn of_two_announcements_of_one_id_the_newest_counts_and_the_other_is_there_once_it_goes() {
    let mut directory = Directory::new();
    for service in [
        node("y", "a", "2", "20"),
        node("x", "a", "1", "10"),
        node("z", "b", "3", "5"),
    ] {
        assert!(matches!(directory.hear(&service), Heard::Changed));
    }
    assert_eq!(boots(&directory), pairs(&[("a", "2"), ("b", "3")]));
    assert!(matches!(directory.hear(&node("x", "a", "1", "10")), Heard::Known));
    assert!(directory.remove(&name("y")));
    assert!(!directory.remove(&name("y")));
    assert_eq!(boots(&directory), pairs(&[("a", "1"), ("b", "3")]));
}

#[tokio::test]
async fn the_rival_of_a_node_is_whoever_announced_its_id_first_under_another_boot() {
    let mut directory = Directory::new();
    for service in [
        node("x", "a", "1", "30"),
        node("y", "a", "2", "10"),
        node("z", "a", "3", "20"),
    ] {
        directory.hear(&service);
    }
    let own = |boot: &str| {
        let builder = Node::builder(greeter(), "a", "127.0.0.1:80".parse().unwrap());
        builder.boot(boot).build().unwrap()
    };
    assert_eq!(directory.rival(&own("1")).unwrap().1.boot(), "2");
    assert_eq!(directory.rival(&own("2")).unwrap().1.boot(), "3");
    for label in ["x", "y", "z"] {
        directory.remove(&name(label));
    }
    assert!(directory.rival(&own("1")).is_none());
}

#[tokio::test]
async fn what_a_round_does_not_hear_is_gone_after_it() {
    let mut directory = Directory::new();
    directory.hear(&node("x", "a", "1", "1"));
    directory.hear(&node("y", "b", "1", "1"));
    directory.begin_round();
    directory.hear(&node("x", "a", "1", "1"));
    assert!(directory.end_round());
    assert_eq!(boots(&directory), pairs(&[("a", "1")]));
    assert!(!directory.end_round());
}

#[tokio::test(start_paused = true)]
async fn what_was_withdrawn_is_not_heard_again() {
    let mut directory = Directory::new();
    directory.hear(&node("x", "a", "1", "1"));
    assert!(directory.withdraw(&name("x")));
    directory.hear(&node("x", "a", "1", "1"));
    assert!(boots(&directory).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_missing_text_is_asked_for_twice_and_a_bad_one_hides_not_the_last_good_one() {
    let mut directory = Directory::new();
    assert!(matches!(directory.hear(&resolved("x", &[])), Heard::Known));
    assert!(!directory.misses_text());
    time::advance(TEXT_WAIT).await;
    assert!(directory.misses_text());
    assert!(directory.misses_text());
    assert!(!directory.misses_text());
    directory.hear(&node("x", "a", "1", "1"));
    assert!(matches!(
        directory.hear(&resolved("x", &[("id", "a")])),
        Heard::Bad(_)
    ));
    assert_eq!(boots(&directory), pairs(&[("a", "1")]));
}

#[tokio::test]
async fn there_is_a_limit_to_instances_and_what_is_bad_takes_no_room() {
    let mut directory = Directory::new();
    for number in 0..INSTANCES_MAX {
        let label = number.to_string();
        directory.hear(&resolved(&format!("bad-{label}"), &[("id", "a")]));
        assert!(matches!(
            directory.hear(&node(&label, &label, "1", "1")),
            Heard::Changed
        ));
    }
    assert!(matches!(
        directory.hear(&node("more", "more", "1", "1")),
        Heard::Full
    ));
    // Those that are in may change.
    assert!(matches!(
        directory.hear(&node("0", "0", "1", "2")),
        Heard::Changed
    ));
}

#[tokio::test(start_paused = true)]
async fn every_instance_that_matters_is_due_within_the_interval_and_a_fifth() {
    let mut directory = Directory::new();
    for number in 0..100 {
        let label = number.to_string();
        directory.hear(&node(&label, &label, "1", "1"));
    }
    time::advance(VERIFY_INTERVAL.mul_f64(0.79)).await;
    assert!(directory.due(|_| true, usize::MAX).is_empty());
    time::advance(VERIFY_INTERVAL.mul_f64(0.42)).await;
    assert!(directory.due(|_| false, usize::MAX).is_empty());
    assert_eq!(directory.due(|_| true, 40).len(), 40);
    assert_eq!(directory.due(|_| true, usize::MAX).len(), 60);
    assert!(directory.due(|_| true, usize::MAX).is_empty());
}

/// An announcement of this address, whose host has these addresses on these interfaces.
fn heard_on(address: &str, heard: &[(Ipv4Addr, &str, u32)]) -> ResolvedService {
    let text = [("service", "greeter"), ("id", "a"), ("address", address)];
    let mut service = resolved("x", &text);
    let scoped = heard.iter().map(|(ip, name, index)| {
        let interface = InterfaceId {
            name: (*name).to_owned(),
            index: *index,
        };
        ScopedIp::V4(ScopedIpV4::new(*ip, interface))
    });
    service.addresses = scoped.collect();
    service
}

#[tokio::test]
async fn a_loopback_address_counts_where_no_other_host_is_heard() {
    let (here, there) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 0, 0, 9));
    let (on_loopback, on_network) = ((here, "lo", 7), (there, "eth0", 8));
    for (address, heard, counts) in [
        ("127.0.0.1:80", &[on_loopback][..], true),
        ("[::1]:80", &[on_loopback], true),
        ("127.0.0.1:80", &[on_network], false),
        ("[::1]:80", &[on_network], false),
        ("localhost:80", &[on_network], false),
        // Whoever says that another host's name is his, and whoever says that it has a loopback address.
        ("127.0.0.1:80", &[on_loopback, on_network], false),
        ("127.0.0.1:80", &[(here, "eth0", 8)], false),
        ("10.0.0.9:80", &[on_network], true),
        ("10.0.0.7:80", &[on_loopback, on_network], true),
    ] {
        let mut directory = Directory::new();
        directory.loopback = vec![7];
        match directory.hear(&heard_on(address, heard)) {
            Heard::Changed => assert!(counts, "{address} {heard:?}"),
            Heard::Bad(error) => {
                assert!(!counts, "{address} {heard:?}");
                let error = error.to_string();
                assert!(
                    error.contains("is heard on eth0") && error.contains(address),
                    "{error}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(directory.nodes(&greeter()).len(), usize::from(counts));
    }
}
