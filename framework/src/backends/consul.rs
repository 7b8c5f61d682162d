//! Opens Consul as the configuration says.

use std::sync::Arc;

use micro_registry::{Error, ErrorKind, Result};

use super::{Consul, ConsulBuilder as Builder, Opened, RegistrySettings};
use crate::config;

/// Opens Consul.
pub(super) fn open(settings: &RegistrySettings) -> Opened {
    let typed = &settings.consul;
    let builder = Consul::builder()
        .address(settings.addresses().join(","))
        .tags(typed.tags.clone());
    let builder = with(builder, typed.https.then_some(()), |builder, ()| builder.https());
    let builder = with(builder, typed.connect_native.then_some(()), |builder, ()| {
        builder.connect_native()
    });
    let builder = with(builder, typed.datacenter.as_ref(), Builder::datacenter);
    let builder = with(builder, typed.ca_file.as_ref(), Builder::ca_file);
    let builder = identified(builder, typed)?;
    Ok(Arc::new(checked(builder, typed)?.build()?))
}

/// Who we are: to Consul's rights and over TLS.
fn identified(builder: Builder, typed: &config::Consul) -> Result<Builder> {
    let builder = with(builder, typed.token.as_ref(), |builder, token| {
        builder.token(&token.0)
    });
    // As Consul's own command has it: a file comes before a value.
    let builder = with(builder, typed.token_file.as_ref(), Builder::token_file);
    match (&typed.client_certificate_file, &typed.client_key_file) {
        (Some(certificate), Some(key)) => Ok(builder.client_certificate_files(certificate, key)),
        (None, None) => Ok(builder),
        _ => Err(Error::new(
            ErrorKind::InvalidArgument,
            "a client certificate and its key are set together: consul.client_certificate_file and \
             consul.client_key_file, or CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY",
        )),
    }
}

/// How Consul finds out whether a node is alive.
fn checked(builder: Builder, typed: &config::Consul) -> Result<Builder> {
    let check = typed.check.as_ref().map(|check| check.parse()).transpose()?;
    let builder = with(builder, check, Builder::check);
    let builder = with(builder, typed.check_interval, Builder::check_interval);
    let builder = with(builder, typed.check_timeout, Builder::check_timeout);
    Ok(with(
        builder,
        typed.deregister_critical_after,
        Builder::deregister_critical_after,
    ))
}

/// Sets what was typed.
fn with<T>(builder: Builder, typed: Option<T>, set: impl FnOnce(Builder, T) -> Builder) -> Builder {
    match typed {
        Some(typed) => set(builder, typed),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{
        RegistrySettings,
        config::{Environment, Loaded},
    };

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
            .chain([file, ("MICRO_REGISTRY", "consul")]);
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
    fn the_address_comes_from_the_registrys_then_from_consuls_then_from_the_backend() {
        let (file, general) = (
            "[consul]\naddress = ['a:1', 'b:2']",
            ("MICRO_REGISTRY_ADDRESS", "c:3"),
        );
        for (text, variables, expected) in [
            ("", &[][..], "[http://127.0.0.1:8500]"),
            (file, &[], "[http://a:1, http://b:2]"),
            (file, &[("CONSUL_HTTP_ADDR", "https://d:4")], "[https://d:4]"),
            (file, &[general, ("CONSUL_HTTP_ADDR", "d:4")], "[http://c:3]"),
            ("", &[("CONSUL_HTTP_SSL", "true")], "[https://127.0.0.1:8500]"),
            (
                "[consul]\nhttps = true",
                &[("CONSUL_HTTP_SSL", "0")],
                "[http://127.0.0.1:8500]",
            ),
        ] {
            let shown = opened(text, variables).unwrap();
            assert!(
                shown.ends_with(&format!("Consul {{ agents: {expected}, .. }}")),
                "{shown}"
            );
        }
    }

    #[test]
    fn what_cannot_be_used_says_what_it_is() {
        for (variables, expected) in [
            ([("CONSUL_HTTP_ADDR", "unix:///x")], "expected is host:port"),
            ([("CONSUL_HTTP_TOKEN_FILE", "no/such/token")], "no/such/token"),
            ([("CONSUL_CACERT", "no/such/ca.pem")], "no/such/ca.pem"),
            ([("CONSUL_CLIENT_CERT", "client.pem")], "are set together"),
            ([("CONSUL_CLIENT_KEY", "client.key")], "are set together"),
            (
                [("CONSUL_HTTP_SSL", "perhaps")],
                "CONSUL_HTTP_SSL: \"perhaps\", expected true or false",
            ),
        ] {
            let message = refused("", &variables);
            assert!(message.contains(expected), "{message}");
        }
        for (text, expected) in [
            ("check = 'script'", "allowed are ttl, grpc, http and tcp"),
            ("check_interval = 0", "the least is 1s"),
            ("deregister_critical_after = '1s'", "the least is 60s"),
            ("check_timeout = 'soon'", "consul.check_timeout: "),
            ("tags = ['v-2']", "a tag is not empty"),
            ("datacenter = 'a/b'", "allowed are letters"),
            ("tokens = 1", "unknown key `tokens`"),
            ("connect_native = 'perhaps'", "expected true or false"),
        ] {
            let message = refused(&format!("[consul]\n{text}"), &[]);
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn everything_there_is_to_set_opens() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        fs::write(&token, SECRET).unwrap();
        let text = format!(
            "[consul]\ntoken_file = '{}'\ndatacenter = 'dc2'\ncheck = 'grpc'\ncheck_interval = '5s'\ncheck_timeout = 2\n\
             deregister_critical_after = '2m'\ntags = 'blue, green'\nconnect_native = true",
            token.display()
        );
        opened(&text, &[]).unwrap();
    }

    #[test]
    fn a_secret_is_never_shown() {
        let shown = opened("", &[("CONSUL_HTTP_TOKEN", SECRET)]).unwrap();
        assert!(
            shown.contains("CONSUL_HTTP_TOKEN") && !shown.contains(SECRET),
            "{shown}"
        );
        let shown = opened(&format!("[consul]\ntoken = '{SECRET}'"), &[]).unwrap();
        assert!(!shown.contains(SECRET), "{shown}");
        for (text, secret) in [
            ("4711", "4711"),
            ("47.11", "47.11"),
            ("['4711']", "4711"),
            ("{ a = '4711' }", "4711"),
        ] {
            let message = refused(&format!("[consul]\ntoken = {text}"), &[]);
            assert!(message.contains("consul.token"), "{message}");
            assert!(!message.contains(secret), "{message}");
        }
        let message = refused("", &[("CONSUL_HTTP_TOKEN", &format!("{SECRET}\u{1}"))]);
        assert!(!message.contains(SECRET), "{message}");
    }
}
