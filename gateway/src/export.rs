//! What of a service may be reached from outside, as the configuration says it.

use std::{fmt, str::FromStr};

use micro::registry::ServiceName;
use serde::{Deserialize, Deserializer, de::Error as _};

/// gRPC's own services, which tell of a node rather than do its work.
const INFRASTRUCTURE: &str = "grpc.";

/// A service of the registry, or one gRPC service of it, or one method, that may be reached from outside.
///
/// ```
/// use micro_gateway::Export;
///
/// for text in ["greeter", "greeter/Say", "greeter/greeter.v1.Say", "greeter/Say/Hello"] {
///     assert_eq!(text.parse::<Export>()?.to_string(), text);
/// }
/// assert!("greeter/../admin".parse::<Export>().is_err());
/// assert!("greeter/grpc.health.v1.Health".parse::<Export>().is_err());
/// # Ok::<(), micro_gateway::ExportError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    service: ServiceName,
    kind: Option<String>,
    method: Option<String>,
}

/// Why a text is no [`Export`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportError {
    message: String,
}

impl Export {
    /// The service of the registry.
    #[must_use]
    pub fn service(&self) -> &str {
        self.service.as_str()
    }

    /// Whether this method may be reached: of the gRPC service with this full name. gRPC's own never may.
    pub(crate) fn holds(&self, full_name: &str, method: &str) -> bool {
        let kind_fits = |kind: &String| kind == full_name || kind == last_part(full_name);
        !is_infrastructure(full_name)
            && self.kind.as_ref().is_none_or(kind_fits)
            && self.method.as_ref().is_none_or(|exported| exported == method)
    }
}

/// Whether it is one of gRPC's own services: health, reflection and the like.
pub(crate) fn is_infrastructure(full_name: &str) -> bool {
    full_name.starts_with(INFRASTRUCTURE)
}

/// `Say` of `greeter.v1.Say`.
pub(crate) fn last_part(full_name: &str) -> &str {
    full_name.rsplit_once('.').map_or(full_name, |(_, last)| last)
}

impl FromStr for Export {
    type Err = ExportError;

    fn from_str(text: &str) -> Result<Self, ExportError> {
        let refuse = |reason: &str| ExportError {
            message: format!(
                "{text:?} cannot be exported: {reason}; allowed are a service of the registry, such as `greeter`, one gRPC \
                 service of it, `greeter/Say`, and one method, `greeter/Say/Hello`"
            ),
        };
        let mut parts = text.split('/');
        let service = parts.next().unwrap_or_default();
        let service = service
            .parse()
            .map_err(|error: micro::registry::Error| refuse(&error.to_string()))?;
        let (kind, method) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return Err(refuse("it has more than three parts"));
        }
        if kind.is_some_and(|kind| !is_dotted(kind)) {
            return Err(refuse("the second part is no name of a gRPC service"));
        }
        if method.is_some_and(|method| !is_identifier(method)) {
            return Err(refuse("the third part is no name of a method"));
        }
        if kind.is_some_and(is_infrastructure) {
            return Err(refuse(
                "gRPC's own services, such as health and reflection, never are",
            ));
        }
        Ok(Self {
            service,
            kind: kind.map(str::to_owned),
            method: method.map(str::to_owned),
        })
    }
}

fn is_dotted(name: &str) -> bool {
    name.split('.').all(is_identifier)
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let begins = bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
    begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl<'de> Deserialize<'de> for Export {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(D::Error::custom)
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.as_str())?;
        for part in [&self.kind, &self.method].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExportError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(export: &str, full_name: &str, method: &str) -> bool {
        export.parse::<Export>().unwrap().holds(full_name, method)
    }

    #[test]
    fn a_part_that_is_left_out_stands_for_all() {
        assert!(holds("greeter", "greeter.Say", "Hello"));
        assert!(holds("greeter/Say", "greeter.Say", "Hello"));
        assert!(holds("greeter/greeter.Say", "greeter.Say", "Hello"));
        assert!(holds("greeter/Say/Hello", "greeter.Say", "Hello"));
        assert!(!holds("greeter/Say", "greeter.Admin", "Hello"));
        assert!(!holds("greeter/Say/Hello", "greeter.Say", "Reset"));
        assert!(!holds("greeter/ay", "greeter.Say", "Hello"));
    }

    #[test]
    fn grpcs_own_services_never_may_be_reached() {
        for service in ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"] {
            assert!(!holds("greeter", service, "Check"));
            assert!(format!("greeter/{service}").parse::<Export>().is_err());
        }
    }

    #[test]
    fn what_is_no_name_says_what_is_allowed() {
        for text in [
            "", "/", "greeter/", "a//b", "a/b/c/d", "a/b/", "a/1", "a/b/c.d", "../x", "a/b c", "http://a",
        ] {
            let error = text.parse::<Export>().unwrap_err().to_string();
            assert!(error.contains("allowed are"), "{text}: {error}");
        }
    }
}
