//! What is shown of the settings: no secret.

use std::fmt;

use super::RegistrySettings;

/// For people: the kind and, where one is set, the address, without user and password.
impl fmt::Display for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        let shown: Vec<_> = self
            .addresses()
            .iter()
            .map(|address| without_password(address))
            .collect();
        if shown.is_empty() {
            return Ok(());
        }
        write!(f, " at {}", shown.join(", "))
    }
}

/// Like `Display`, and with the names of the backends that were added.
impl fmt::Debug for RegistrySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySettings")
            .field("registry", &self.to_string())
            .field("own", &self.own.keys())
            .finish_non_exhaustive()
    }
}

/// `scheme://user:password@host?token=…` as `scheme://host`.
pub(super) fn without_password(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    let host = host.split(['?', '#']).next().unwrap_or_default();
    format!("{scheme}{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_never_shown() {
        let settings = RegistrySettings::default()
            .with_kind("etcd", "MICRO_REGISTRY")
            .with_addresses("http://root:secret@10.0.0.1:2379,root:secret@b:1,https://c?token=secret");
        assert_eq!(
            settings.to_string(),
            "etcd at http://10.0.0.1:2379, b:1, https://c"
        );
        assert!(!format!("{settings:?}").contains("secret"), "{settings:?}");
    }
}
