//! An agent that speaks TLS to those alone who have a certificate: the suite, and what is said to others.

use std::{fs, path::PathBuf};

use async_trait::async_trait;
use micro_registry::{ErrorKind, Registry};
use micro_registry_consul::{Builder, Consul};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tempfile::TempDir;

use crate::{
    agent::{Agent, Settings},
    conformance::{ConsulHarness, Setup},
};

/// An agent with certificates, and the folder that they are in.
pub(crate) struct Mutual {
    agent: Agent,
    folder: TempDir,
}

#[async_trait]
impl Setup for Mutual {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the certificates");
        let authority = authority();
        write(&folder, "ca.pem", &authority.pem());
        issue(&folder, "server", &authority, ExtendedKeyUsagePurpose::ServerAuth);
        issue(&folder, "client", &authority, ExtendedKeyUsagePurpose::ClientAuth);
        let stranger = self::authority();
        write(&folder, "other-ca.pem", &stranger.pem());
        issue(&folder, "other", &stranger, ExtendedKeyUsagePurpose::ClientAuth);
        let path = folder.path().display();
        let configuration = format!(
            "verify_incoming_https = true\n\
             ca_file = \"{path}/ca.pem\"\ncert_file = \"{path}/server.pem\"\nkey_file = \"{path}/server.key\"\n"
        );
        let settings = Settings {
            configuration,
            master: None,
        };
        Self {
            agent: Agent::start(settings).await,
            folder,
        }
    }

    fn agent(&self) -> &Agent {
        &self.agent
    }

    fn builder(&self) -> Builder {
        self.trusting("ca.pem")
            .client_certificate_files(self.file("client.pem"), self.file("client.key"))
    }
}

impl Mutual {
    fn trusting(&self, authority: &str) -> Builder {
        Consul::builder()
            .address(self.agent.tls_address())
            .ca_file(self.file(authority))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("ring makes keys");
    CertifiedIssuer::self_signed(params, key).expect("an authority signs itself")
}

/// Writes a certificate for `localhost`, and its key.
fn issue(
    folder: &TempDir,
    name: &str,
    authority: &CertifiedIssuer<'static, KeyPair>,
    purpose: ExtendedKeyUsagePurpose,
) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("good names");
    params.extended_key_usages = vec![purpose];
    let key = KeyPair::generate().expect("ring makes keys");
    let certificate = params.signed_by(&key, authority).expect("the authority signs");
    write(folder, &format!("{name}.pem"), &certificate.pem());
    write(folder, &format!("{name}.key"), &key.serialize_pem());
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), text).expect("write a certificate");
}

micro_registry::conformance! { ConsulHarness<Mutual> }

#[tokio::test]
async fn who_has_no_right_certificate_or_trusts_another_authority_gets_nowhere() {
    let mutual = Mutual::start().await;
    let stranger = |builder: Builder| {
        builder.client_certificate_files(mutual.file("other.pem"), mutual.file("other.key"))
    };
    let plain = Consul::builder().address(mutual.agent.tls_address().replace("https", "http"));
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
    mutual.agent.stop();
    assert_eq!(list().await, Some(ErrorKind::Unavailable));
    mutual.agent.start_again().await;
    assert_eq!(list().await, None);
}

#[test]
fn a_certificate_without_its_key_is_refused_before_anything_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let authority = authority();
    issue(&folder, "one", &authority, ExtendedKeyUsagePurpose::ClientAuth);
    issue(&folder, "two", &authority, ExtendedKeyUsagePurpose::ClientAuth);
    let file = |name: &str| folder.path().join(name);
    for (certificate, key) in [
        ("one.pem", "two.key"),
        ("one.pem", "one.pem"),
        ("one.key", "one.key"),
    ] {
        let builder = Consul::builder().client_certificate_files(file(certificate), file(key));
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{certificate} {key}");
    }
}
