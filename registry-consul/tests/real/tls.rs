//! An agent that speaks TLS to those alone who have a certificate: the suite, and what is said to others.

use std::{fs, path::PathBuf};

use async_trait::async_trait;
use micro_registry::{ErrorKind, Registry};
use micro_registry_consul::{Builder, Consul};
use micro_test_servers::{Certificates, Consul as Agent, ask_elsewhere};

use crate::conformance::{ConsulHarness, Setup};

/// An agent with certificates.
pub(crate) struct Mutual(Agent);

#[async_trait]
impl Setup for Mutual {
    async fn start() -> Self {
        Self(Agent::builder().tls().start().await.expect("an agent"))
    }

    fn agent(&self) -> &Agent {
        &self.0
    }

    fn builder(&self) -> Builder {
        self.trusting("ca.pem")
            .client_certificate_files(self.file("client.pem"), self.file("client.key"))
    }
}

impl Mutual {
    fn trusting(&self, authority: &str) -> Builder {
        Consul::builder()
            .address(self.0.tls_address())
            .ca_file(self.file(authority))
    }

    fn file(&self, name: &str) -> PathBuf {
        let certificates = self.0.certificates().expect("it was started with TLS");
        certificates.file(name)
    }
}

micro_registry::conformance! { ConsulHarness<Mutual> }

#[tokio::test]
async fn who_has_no_right_certificate_or_trusts_another_authority_gets_nowhere() {
    let mutual = Mutual::start().await;
    let stranger = |builder: Builder| {
        builder.client_certificate_files(mutual.file("other.pem"), mutual.file("other.key"))
    };
    let plain = Consul::builder().address(mutual.0.tls_address().replace("https", "http"));
    for builder in [
        mutual.trusting("ca.pem"),
        stranger(mutual.trusting("ca.pem")),
        mutual.trusting("other-ca.pem"),
        plain,
    ] {
        let error = builder
            .clone()
            .build()
            .unwrap()
            .get_service("greeter")
            .await
            .unwrap_err();
        let expected = if format!("{error:?}").contains("400 Bad Request") {
            ErrorKind::InvalidArgument
        } else {
            ErrorKind::Unavailable
        };
        assert_eq!(error.kind(), expected, "{builder:?}: {error:?}");
    }
    let registry = mutual.builder().build().unwrap();
    assert!(registry.get_service("greeter").await.unwrap().is_empty());
}

#[tokio::test]
async fn an_agent_whose_certificate_is_for_another_address_is_told_nothing() {
    let mutual = Mutual::start().await;
    let target = mutual.0.tls_address().replace("https://", "");
    let ask = async |address: String| {
        let builder = Consul::builder()
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
    ask_elsewhere(&target, "NotValidForName", ask).await.unwrap();
}

#[tokio::test]
async fn certificates_that_are_replaced_are_used_for_the_next_connection() {
    let mutual = Mutual::start().await;
    let replace = |from: &str, to: &str| {
        fs::copy(mutual.file(from), mutual.file(to)).expect("copy a certificate");
    };
    for (from, to) in [
        ("other-ca.pem", "used-ca.pem"),
        ("other.pem", "used.pem"),
        ("other.key", "used.key"),
    ] {
        replace(from, to);
    }
    let registry = mutual
        .trusting("used-ca.pem")
        .client_certificate_files(mutual.file("used.pem"), mutual.file("used.key"))
        .build()
        .unwrap();
    let kind = |answer: micro_registry::Result<_>| answer.err().map(|error| error.kind());
    let list = || async { kind(registry.get_service("greeter").await) };
    assert_eq!(list().await, Some(ErrorKind::Unavailable));
    replace("ca.pem", "used-ca.pem");
    assert_eq!(list().await, Some(ErrorKind::Unavailable));
    // Between the two, certificate and key do not fit together.
    replace("client.pem", "used.pem");
    assert_eq!(list().await, Some(ErrorKind::Unavailable));
    replace("client.key", "used.key");
    assert_eq!(list().await, None);
    // What cannot be read takes nothing away, also from connections that are made now.
    for file in ["used-ca.pem", "used.pem", "used.key"] {
        fs::write(mutual.file(file), "nothing").unwrap();
    }
    mutual.agent().kill();
    assert_eq!(list().await, Some(ErrorKind::Unavailable));
    mutual.agent().start_again().await.unwrap();
    assert_eq!(list().await, None);
}

#[test]
fn a_certificate_without_its_key_is_refused_before_anything_is_sent() {
    let certificates = Certificates::new().unwrap();
    let file = |name: &str| certificates.file(name);
    for (certificate, key) in [
        ("client.pem", "other.key"),
        ("client.pem", "client.pem"),
        ("client.key", "client.key"),
    ] {
        let builder = Consul::builder().client_certificate_files(file(certificate), file(key));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{certificate} {key}");
    }
}
