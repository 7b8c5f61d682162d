//! The name of a service, checked once.

use std::{fmt, str::FromStr, sync::Arc};

use crate::Error;

/// The longest name: a DNS label (RFC 1035 §2.3.4).
const LENGTH_MAX: usize = 63;

/// The name of a service: letters, digits, `.`, `_` and `-`, a letter or digit at both ends, at most 63 characters.
///
/// The name ends up in URLs, keys and DNS labels, so it is checked here and nowhere else. Cloning shares.
///
/// ```
/// use micro_registry::ServiceName;
///
/// let name: ServiceName = "shop.orders-v2".parse()?;
/// assert_eq!(name.as_str(), "shop.orders-v2");
/// assert!("../agent".parse::<ServiceName>().is_err());
/// # Ok::<(), micro_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

impl ServiceName {
    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| {
            let shown: String = text.chars().take(LENGTH_MAX + 1).collect();
            Err(Error::invalid(format!(
                "service name {shown:?} {reason}; allowed are 1 to {LENGTH_MAX} letters, digits, `.`, `_` and `-`, \
                 with a letter or digit at both ends"
            )))
        };
        let bytes = text.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return refuse("is empty");
        };
        if bytes.len() > LENGTH_MAX {
            return refuse("is too long");
        }
        if !bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        {
            return refuse("has a character that is not allowed");
        }
        if !first.is_ascii_alphanumeric() || !last.is_ascii_alphanumeric() {
            return refuse("begins or ends with a mark");
        }
        Ok(Self(text.into()))
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_within_the_grammar_are_taken() {
        for name in [
            "a",
            "greeter",
            "greeter-v2",
            "shop.orders",
            "A_1",
            "9",
            &"x".repeat(63),
        ] {
            assert_eq!(name.parse::<ServiceName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_outside_the_grammar_are_refused() {
        let long = "x".repeat(64);
        let names = [
            "", ".", "-a", "a-", "a.", "_a", "a/b", "../agent", "a b", "a%2e", "é", "a\0", "a\n", "a:b",
            &long,
        ];
        for name in names {
            let error = name.parse::<ServiceName>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidArgument, "{name:?}");
            assert!(error.to_string().contains("allowed are"), "{error}");
        }
    }
}
