//! `micro gateway` with a certificate, by itself and beside `micro run`.

use std::{fs, path::Path, process, sync::Arc};

use micro_dynamic::fake::Reflection;
use nix::sys::signal::Signal;
use rcgen::CertifiedKey;
use reqwest::{Client, Version};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};

use crate::{
    running::Running,
    support::{Shop, micro},
};

/// Writes a certificate for this machine and a `micro.toml` that has the gateway show it, and says `more`.
fn certified(folder: &Path, more: &str) -> CertificateDer<'static> {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    let (certificate, key) = (folder.join("gateway.pem"), folder.join("gateway.key"));
    fs::write(&certificate, cert.pem()).unwrap();
    fs::write(&key, signing_key.serialize_pem()).unwrap();
    let settings = format!(
        "[server.tls]\ncertificate_file = '{}'\nkey_file = '{}'\n{more}",
        certificate.display(),
        key.display()
    );
    fs::write(folder.join("micro.toml"), settings).unwrap();
    cert.der().clone()
}

/// A client that trusts this certificate alone, and offers one protocol.
fn client(trusted: &CertificateDer<'static>, protocol: &str) -> Client {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .build()
        .unwrap()
}

/// The first word of the line that begins with `https://`.
fn url(line: &str) -> String {
    let (_, rest) = line.split_once("https://").unwrap_or_else(|| panic!("{line}"));
    format!("https://{}", rest.split(' ').next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_what_it_says_of_itself_is_where_it_answers() {
    let shop = Shop::start(Reflection::V1).await;
    let folder = tempfile::tempdir().unwrap();
    let certificate = certified(folder.path(), "");
    let mut command = shop.micro(&["gateway", "shop", "--address", "127.0.0.1:0", "--dashboard"]);
    command.current_dir(folder.path());
    let (gateway, said) = tokio::task::block_in_place(|| {
        let gateway = Running::start(command);
        let said = gateway.errors_until("the dashboard is at");
        (gateway, said)
    });
    assert!(!said.iter().any(|line| line.contains("http://")), "{said:?}");
    let [.., itself, dashboard] = said.as_slice() else {
        panic!("two lines: {said:?}");
    };
    for (protocol, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
        let client = client(&certificate, protocol);
        let order = client
            .post(format!("{}/shop/shop/order", url(itself)))
            .body(r#"{"name":"Ada"}"#);
        let answer = order.send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(
            answer.text().await.unwrap(),
            r#"{"message":"Hello Ada","count":1}"#
        );
        let page = client.get(url(dashboard)).send().await.unwrap();
        assert_eq!((page.status().as_u16(), page.version()), (200, version));
        let page = page.text().await.unwrap();
        assert!(page.starts_with("<!doctype html>"), "{page}");
    }
    drop(gateway);
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn beside_micro_run_it_answers_at_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let greeter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/greeter");
    let certificate = certified(
        folder.path(),
        &format!("[run]\nservices = [{:?}]\n", greeter.display().to_string()),
    );
    let mut command = micro(&["run", ".", "--no-watch", "--gateway", "127.0.0.1:0"]);
    // Below the range from which the system gives out ports, and apart from where other tests of this process are.
    let registry = format!("127.0.0.1:{}", 30_000 + process::id() % 2_000);
    command
        .current_dir(folder.path())
        .env("MICRO_REGISTRY_ADDRESS", registry);
    let (mut run, said, curl) = tokio::task::block_in_place(|| {
        let run = Running::start(command);
        let said = run.errors_until("HTTP and JSON are at").pop().unwrap();
        let curl = run.errors_until("    curl ").pop().unwrap();
        (run, said, curl)
    });
    let client = client(&certificate, "h2");
    let (itself, dashboard) = said.split_once(", ").unwrap();
    let page = client
        .get(url(dashboard).trim_end_matches(';'))
        .send()
        .await
        .unwrap();
    assert_eq!(page.status().as_u16(), 200, "{said}");
    let typed = url(&curl);
    for typed in [
        typed.clone(),
        typed.replace("https://localhost", url(itself).rsplit_once(':').unwrap().0),
    ] {
        let order = client.post(&typed).body(r#"{"name":"Ada"}"#);
        let answer = order.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{typed}");
        assert_eq!(answer.text().await.unwrap(), r#"{"message":"Hello Ada"}"#);
    }
    run.signal(Signal::SIGINT);
    assert_eq!(tokio::task::block_in_place(|| run.exit_code()), Some(0));
}
