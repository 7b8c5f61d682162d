//! Opens etcd as the configuration says.

use std::sync::Arc;

use micro_registry::{Error, ErrorKind, Result};

use super::{Etcd, EtcdBuilder as Builder, Opened, RegistrySettings};
use crate::config;

/// Opens etcd.
pub(super) fn open(settings: &RegistrySettings) -> Opened {
    let typed = &settings.etcd;
    let mut builder = Etcd::builder().address(settings.addresses().join(","));
    if let Some(prefix) = &typed.prefix {
        builder = builder.prefix(prefix);
    }
    Ok(Arc::new(identified(secured(builder, typed)?, typed)?.build()?))
}

/// Whom we trust, and who we are over TLS.
fn secured(mut builder: Builder, typed: &config::Etcd) -> Result<Builder> {
    if means_tls(typed) {
        builder = builder.https();
    }
    if let Some(file) = &typed.ca_file {
        builder = builder.ca_file(file);
    }
    match (&typed.client_certificate_file, &typed.client_key_file) {
        (Some(certificate), Some(key)) => Ok(builder.client_certificate_files(certificate, key)),
        (None, None) => Ok(builder),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a client certificate and its key are set together: etcd.client_certificate_file and etcd.client_key_file, \
             or ETCDCTL_CERT and ETCDCTL_KEY",
        )),
    }
}

/// As etcd's own command has it: who names certificates means TLS, unless something else is said.
fn means_tls(typed: &config::Etcd) -> bool {
    let has_certificates = typed.ca_file.is_some() || typed.client_certificate_file.is_some();
    typed.https.unwrap_or(has_certificates)
}

/// Who we are to etcd's rights. A password's file comes before a password, as a token's does with Consul.
fn identified(builder: Builder, typed: &config::Etcd) -> Result<Builder> {
    match (&typed.user, &typed.password_file, &typed.password) {
        (Some(user), Some(file), _) => Ok(builder.user_with_password_file(user, file)),
        (Some(user), None, Some(password)) => Ok(builder.user(user, &password.0)),
        (None, None, None) => Ok(builder),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a user and a password are set together: etcd.user and etcd.password_file or etcd.password, or ETCD_USERNAME \
             and ETCD_PASSWORD",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::{Environment, Loaded};

    const SECRET: &str = "5ec7e700-cafe";

    /// What file and variables make of the settings, and of the registry that they open.
    fn opened(text: &str, variables: &[(&str, &str)]) -> Result<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("micro.toml");
        fs::write(&path, text).unwrap();
        let file = ("MICRO_CONFIG", path.to_str().unwrap());
        let variables = variables
            .iter()
            .copied()
            .chain([file, ("MICRO_REGISTRY", "etcd")]);
        let environment =
            Environment::Given(variables.map(|(name, text)| (name.into(), text.into())).collect());
        let mut settings = RegistrySettings::default();
        let loaded = Loaded::load(&environment).map_err(|error| format!("{error:#}"))?;
        loaded.registry(&mut settings);
        let opened = settings.open().map_err(|error| format!("{error:#}"))?;
        Ok(format!("{environment:?} {loaded:?} {settings:?} {opened:?}"))
    }

    fn refused(text: &str, variables: &[(&str, &str)]) -> String {
        opened(text, variables).unwrap_err()
    }

    #[test]
    fn the_address_comes_from_the_registrys_then_from_etcds_then_from_the_backend() {
        let file = "[etcd]\naddress = ['a:1', 'b:2']";
        let general = ("MICRO_REGISTRY_ADDRESS", "c:3");
        let own = ("ETCDCTL_ENDPOINTS", "https://d:4,e:5");
        for (text, variables, expected) in [
            ("", &[][..], "[http://127.0.0.1:2379]"),
            (file, &[], "[http://a:1, http://b:2]"),
            (file, &[own], "[https://d:4, http://e:5]"),
            (file, &[general, own], "[http://c:3]"),
            ("[etcd]\nhttps = true", &[], "[https://127.0.0.1:2379]"),
        ] {
            let shown = opened(text, variables).unwrap();
            assert!(shown.contains(&format!("servers: {expected}")), "{shown}");
        }
    }

    #[test]
    fn who_names_certificates_means_tls_unless_something_else_is_said() {
        let typed = |https, ca_file: Option<&str>| config::Etcd {
            https,
            ca_file: ca_file.map(str::to_owned),
            ..config::Etcd::default()
        };
        for (https, ca_file, expected) in [
            (None, None, false),
            (None, Some("ca.pem"), true),
            (Some(false), Some("ca.pem"), false),
            (Some(true), None, true),
        ] {
            assert_eq!(
                means_tls(&typed(https, ca_file)),
                expected,
                "{https:?} {ca_file:?}"
            );
        }
    }

    #[test]
    fn a_user_has_a_password_from_whoever_says_so() {
        for (text, variables) in [
            ("", &[("ETCD_USERNAME", "ann"), ("ETCD_PASSWORD", SECRET)][..]),
            ("", &[("ETCDCTL_USER", "ann:5ec7e700-cafe")]),
            ("", &[("ETCDCTL_USER", "ann"), ("ETCDCTL_PASSWORD", SECRET)]),
            (
                "",
                &[
                    ("ETCDCTL_USER", "bob:x"),
                    ("ETCD_USERNAME", "ann"),
                    ("ETCD_PASSWORD", SECRET),
                ],
            ),
            ("[etcd]\nuser = 'ann'", &[("ETCD_PASSWORD", SECRET)]),
            (
                "[etcd]\nuser = 'ann'\npassword = 'x'",
                &[("ETCD_PASSWORD", SECRET)],
            ),
        ] {
            let shown = opened(text, variables).unwrap();
            assert!(shown.contains("ann") && !shown.contains("bob"), "{shown}");
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_used_says_what_it_is() {
        for (variables, expected) in [
            (&[("ETCDCTL_ENDPOINTS", "unix:///x")][..], "expected is host:port"),
            (&[("ETCD_USERNAME", "ann")], "are set together"),
            (&[("ETCD_PASSWORD", SECRET)], "are set together"),
            // One who is somebody else has another password.
            (
                &[("ETCDCTL_USER", "bob:x"), ("ETCD_USERNAME", "ann")],
                "are set together",
            ),
            (&[("ETCDCTL_CERT", "client.pem")], "are set together"),
            (&[("ETCDCTL_KEY", "client.key")], "are set together"),
            (&[("ETCDCTL_CACERT", "no/such/ca.pem")], "no/such/ca.pem"),
        ] {
            let message = refused("", variables);
            assert!(message.contains(expected), "{message}");
            assert!(!message.contains(SECRET), "{message}");
        }
        for (text, expected) in [
            ("user = 'ann'\npassword_file = 'no/such/file'", "no/such/file"),
            ("prefix = 'a b'", "prefix"),
            ("users = 1", "unknown key `users`"),
            ("https = 'perhaps'", "expected true or false"),
        ] {
            let message = refused(&format!("[etcd]\n{text}"), &[]);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn a_password_is_never_shown_not_even_as_what_is_wrong() {
        for text in ["4711", "47.11", "['4711']", "{ a = '4711' }"] {
            let message = refused(&format!("[etcd]\npassword = {text}"), &[]);
            assert!(message.contains("etcd.password"), "{message}");
            assert!(!message.contains("11"), "{message}");
        }
    }
}
