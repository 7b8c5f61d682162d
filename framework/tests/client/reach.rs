//! What becomes of calls to nodes at addresses that may not be called.

use std::{sync::Arc, time::Duration};

use micro::{
    CallOptions, Client, ErrorKind, RegistrySettings, Service,
    registry::{Memory, Registry},
};
use tonic::Code;

use crate::support::{Behaviour, FakeNode, TTL, eventually, hello, node, registry_of};

#[tokio::test]
async fn a_call_says_why_a_node_is_not_called_and_nobody_connects_to_it() {
    let fake = FakeNode::start("greeter-1", Behaviour::Answer).await;
    let client = Client::builder(registry_of([&fake]).await).deny(["loopback"]);
    let channel = client.build().unwrap().channel("greeter");
    let status = hello(&channel.options(CallOptions::new().timeout(Duration::from_millis(200))))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let reason = "not called: 127.0.0.1 is in loopback, which `client.deny` has";
    assert!(status.message().contains(reason), "{status}");
    assert!(status.message().contains("greeter-1"), "{status}");
    assert_eq!(fake.connections(), 0);
}

#[tokio::test]
async fn a_stream_to_a_node_leads_nowhere_where_calls_may_not_go() {
    let fake = FakeNode::start("greeter-1", Behaviour::Answer).await;
    let client = |denied: &[&'static str]| {
        let registry = Arc::new(Memory::default());
        let client = Client::builder(registry).deny(denied.iter().copied());
        client.build().unwrap()
    };
    let refused = client(&["loopback"]).connect(&fake.node).await.err().unwrap();
    assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied, "{refused}");
    let _io = client(&[]).connect(&fake.node).await.unwrap();
    eventually("the other one is there", async || fake.connections() > 0).await;
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn nodes_at_denied_addresses_do_not_disturb_the_others() {
    let fake = FakeNode::start("greeter-1", Behaviour::Answer).await;
    let registry: Arc<Memory> = registry_of([&fake]).await;
    let denied = [
        "169.254.169.254:80",
        "100.100.100.200:80",
        "[fd00:ec2::254]:80",
        "8.8.8.8:80",
    ];
    for (number, address) in denied.into_iter().enumerate() {
        registry
            .register(&node(&format!("other-{number}"), address), TTL)
            .await
            .unwrap();
    }
    let channel = Client::builder(registry)
        .allow(["loopback"])
        .build()
        .unwrap()
        .channel("greeter");
    for _ in 0..20 {
        assert_eq!(hello(&channel).await.unwrap(), "greeter-1");
    }
}

#[test]
fn what_is_no_range_of_addresses_is_refused_when_the_client_is_built() {
    let error = Client::builder(Arc::new(Memory::default()))
        .deny(["localhost"])
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("or one of loopback, private"),
        "{error}"
    );
}

#[tokio::test]
async fn the_registry_that_the_configuration_names_is_never_called_as_a_node() {
    let fake = FakeNode::start("greeter-1", Behaviour::Answer).await;
    let nodes = registry_of([&fake]).await;
    let address = fake.node.address().to_string();

    let held = Arc::clone(&nodes);
    let settings = RegistrySettings::default().backend("consul", move |_| Ok(Arc::clone(&held) as _));
    let settings = settings
        .with_kind("consul", "the test")
        .with_addresses(&format!("http://{address}"));
    let service = Service::builder("caller")
        .backend("consul", move |_| Ok(Arc::clone(&nodes) as _))
        .environment([("MICRO_REGISTRY", "consul"), ("MICRO_REGISTRY_ADDRESS", &address)])
        .build()
        .unwrap();
    for client in [Client::from_settings(&settings).unwrap(), service.client()] {
        let options = CallOptions::new().timeout(Duration::from_millis(200));
        let status = hello(&client.channel("greeter").options(options))
            .await
            .unwrap_err();
        let reason = format!("not called: the registry itself is at {address}");
        assert!(status.message().contains(&reason), "{status}");
    }
    assert_eq!(fake.connections(), 0);
}
