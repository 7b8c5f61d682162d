//! A collector over mutual TLS that wants a token, named by the environment alone.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use micro::Otlp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};
use tracing::info_span;

use crate::{LONG, collector::Collector, subscribe};

/// Whoever may sign certificates, and a folder for them.
struct Authority {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    /// A certificate and its key, as PEM.
    fn signed(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn collector(&self) -> Collector {
        let (certificate, key) = self.signed();
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(self.issuer.pem()));
        Collector::start_over_tls(tls).await
    }
}

/// Runs [`a_program_that_sends_one_span`] as a program of its own, as OpenTelemetry's crates read the environment, too.
async fn program(collector: &Collector, variables: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "tls::a_program_that_sends_one_span"])
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("https://localhost:{}", collector.port()),
        )
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20token,x-tenant=a",
        )
        .envs(variables.iter().copied());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
#[ignore = "it is a part of another test, which runs it as a program"]
async fn a_program_that_sends_one_span() {
    let otlp = Otlp::from_env("program").unwrap();
    let _subscribed = subscribe(&otlp);
    drop(info_span!("the one"));
    otlp.shutdown(LONG).await.unwrap();
}

#[tokio::test]
async fn spans_travel_over_tls_with_the_headers_of_the_environment() {
    let authority = Authority::new();
    let collector = authority.collector().await;
    let (certificate, key) = authority.signed();
    let [ca, certificate_file, key_file] = ["ca.pem", "own.pem", "own.key"].map(|name| authority.file(name));
    fs::write(&certificate_file, certificate).unwrap();
    fs::write(&key_file, key).unwrap();

    let ended = program(
        &collector,
        &[
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &certificate_file),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", &key_file),
        ],
    )
    .await;
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stdout)
    );
    let taken = collector.taken();
    assert_eq!(taken.service, "program");
    assert_eq!(taken.spans.len(), 1, "{taken:#?}");
    assert_eq!(taken.spans[0].name, "the one");
    assert_eq!(taken.metadata["authorization"], "Bearer token");
    assert_eq!(taken.metadata["x-tenant"], "a");
}

#[tokio::test]
async fn a_collector_whose_certificate_nobody_vouches_for_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let collector = authority.collector().await;
    program(
        &collector,
        &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &stranger.file("ca.pem"))],
    )
    .await;
    assert!(collector.taken().spans.is_empty());
    // Neither does one that wants a certificate of ours, and is not shown any.
    program(
        &collector,
        &[("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority.file("ca.pem"))],
    )
    .await;
    assert!(collector.taken().spans.is_empty());
}

#[tokio::test]
async fn a_file_that_is_not_there_or_half_of_an_identity_is_said() {
    let authority = Authority::new();
    let collector = authority.collector().await;
    for (variable, said) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "missing.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "given together"),
    ] {
        let missing = authority.file("missing.pem");
        let ca = authority.file("ca.pem");
        let mut variables = vec![("OTEL_EXPORTER_OTLP_CERTIFICATE", ca.as_path())];
        variables.push((variable, &missing));
        let ended = program(&collector, &variables).await;
        assert!(!ended.status.success());
        let output = String::from_utf8_lossy(&ended.stdout);
        assert!(output.contains(said), "{output}");
    }
}
