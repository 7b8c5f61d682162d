//! A server that speaks TLS to those alone who have a certificate: the suite, and what is said to others.

use std::{fs, path::PathBuf};

use async_trait::async_trait;
use micro_registry::{ErrorKind, Registry};
use micro_registry_etcd::{Builder, Etcd};
use micro_test_servers::{Etcd as Server, ask_elsewhere};

use crate::{
    announcing::{TTL, node, stored},
    conformance::{EtcdHarness, Setup},
};

struct Mutual(Server);

#[async_trait]
impl Setup for Mutual {
    async fn start() -> Self {
        Self(Server::builder().tls().start().await.expect("a server"))
    }

    fn server(&self) -> &Server {
        &self.0
    }

    fn builder(&self) -> Builder {
        self.trusting("ca.pem")
            .client_certificate_files(self.file("client.pem"), self.file("client.key"))
    }
}

impl Mutual {
    fn trusting(&self, authority: &str) -> Builder {
        Etcd::builder()
            .address(self.0.tls_address())
            .ca_file(self.file(authority))
    }

    fn file(&self, name: &str) -> PathBuf {
        let certificates = self.0.certificates().expect("it was started with TLS");
        certificates.file(name)
    }
}

micro_registry::conformance! { EtcdHarness<Mutual> }

#[tokio::test]
async fn who_has_no_right_certificate_or_trusts_another_authority_gets_nowhere() {
    let mutual = Mutual::start().await;
    let stranger = |builder: Builder| {
        builder.client_certificate_files(mutual.file("other.pem"), mutual.file("other.key"))
    };
    let plain = Etcd::builder().address(mutual.0.tls_address().replace("https", "http"));
    for builder in [
        mutual.trusting("ca.pem"),
        stranger(mutual.trusting("ca.pem")),
        mutual.trusting("other-ca.pem"),
        plain,
    ] {
        let registry = builder.clone().build().unwrap();
        let error = registry.register(&node("boot-1"), TTL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{builder:?}: {error:?}");
    }
    assert_eq!(stored(&mutual.0).await, None);
}

#[tokio::test]
async fn a_server_whose_certificate_is_for_another_address_is_told_nothing() {
    let mutual = Mutual::start().await;
    let target = mutual.0.tls_address().replace("https://", "");
    let ask = async |address: String| {
        let builder = Etcd::builder()
            .address(format!("https://{address}"))
            .ca_file(mutual.file("ca.pem"))
            .client_certificate_files(mutual.file("client.pem"), mutual.file("client.key"));
        match builder.build().unwrap().get_service("greeter").await {
            Ok(listed) => assert!(listed.is_empty()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                return Err(format!("{error:?}"));
            }
        }
        Ok(())
    };
    ask_elsewhere(&target, "not valid for name", ask).await.unwrap();
}

#[tokio::test]
async fn certificates_are_read_again_for_each_connection() {
    let mutual = Mutual::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let take = |name: &str| {
        fs::copy(mutual.file(&format!("{name}.pem")), file("own.pem")).unwrap();
        fs::copy(mutual.file(&format!("{name}.key")), file("own.key")).unwrap();
    };
    take("other");
    let registry = mutual
        .trusting("ca.pem")
        .client_certificate_files(file("own.pem"), file("own.key"))
        .build()
        .unwrap();
    registry.register(&node("boot-1"), TTL).await.unwrap_err();
    take("client");
    registry.register(&node("boot-1"), TTL).await.unwrap();
    assert!(stored(&mutual.0).await.is_some());
}

#[test]
fn a_certificate_without_its_key_is_refused_before_anything_is_sent() {
    let certificates = micro_test_servers::Certificates::new().unwrap();
    for (certificate, key) in [
        ("client.pem", "other.key"),
        ("client.pem", "client.pem"),
        ("client.key", "client.key"),
    ] {
        let builder =
            Etcd::builder().client_certificate_files(certificates.file(certificate), certificates.file(key));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{certificate} {key}");
    }
}
