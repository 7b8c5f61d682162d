//! The metadata of a call, as typed after `-H`.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::metadata::{BinaryMetadataKey, MetadataMap};

/// What belongs to HTTP/2, to gRPC, and to the framework's channel.
const NOT_YOURS: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "micro-service",
    "te",
    "transfer-encoding",
    "user-agent",
];

/// One `key: value`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    name: HeaderName,
    value: HeaderValue,
}

/// Why a text is no metadata.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HeaderError(String);

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(text: &str) -> Result<Self, HeaderError> {
        let Some((key, value)) = text.split_once(':') else {
            return Err(HeaderError("expected is key:value".to_owned()));
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_| {
            HeaderError(format!(
                "`{key}` is no key; allowed are letters, digits, `.`, `_` and `-`"
            ))
        })?;
        if NOT_YOURS.contains(&name.as_str()) || name.as_str().starts_with("grpc-") {
            return Err(HeaderError(format!("`{name}` is set by gRPC itself")));
        }
        let value = HeaderValue::from_str(value).ok().filter(is_ascii).ok_or_else(|| {
            HeaderError(format!(
                "the value of `{name}` is not ASCII text; a key that ends in -bin takes any bytes as base64"
            ))
        })?;
        let header = Self { name, value };
        header.check_base64()?;
        Ok(header)
    }
}

impl Header {
    fn check_base64(&self) -> Result<(), HeaderError> {
        let metadata = to_metadata(std::slice::from_ref(self));
        let Ok(key) = BinaryMetadataKey::from_bytes(self.name.as_str().as_bytes()) else {
            return Ok(());
        };
        let is_decoded = metadata
            .get_bin(key)
            .is_some_and(|value| value.to_bytes().is_ok());
        if !is_decoded {
            return Err(HeaderError(format!("the value of `{}` is not base64", self.name)));
        }
        Ok(())
    }
}

/// All of them as the metadata of a request, in the order typed.
pub(crate) fn to_metadata(headers: &[Header]) -> MetadataMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        map.append(header.name.clone(), header.value.clone());
    }
    MetadataMap::from_headers(map)
}

fn is_ascii(value: &HeaderValue) -> bool {
    value.to_str().is_ok()
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HeaderError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(text: &str) -> MetadataMap {
        to_metadata(&[text.parse().unwrap()])
    }

    #[test]
    fn text_and_base64_are_taken() {
        assert_eq!(metadata("X-Tenant: a:b ").get("x-tenant").unwrap(), "a:b");
        for base64 in ["k-bin:AP8=", "k-bin: AP8"] {
            assert_eq!(
                metadata(base64).get_bin("k-bin").unwrap().to_bytes().unwrap(),
                &[0, 255][..]
            );
        }
        assert_eq!(metadata("x-empty:").get("x-empty").unwrap(), "");
    }

    #[test]
    fn a_key_may_stand_several_times() {
        let headers = ["k: 1", "k: 2"].map(|text| text.parse().unwrap());
        assert_eq!(to_metadata(&headers).get_all("k").iter().count(), 2);
    }

    #[test]
    fn what_cannot_be_sent_says_why() {
        for (text, reason) in [
            ("tenant", "expected is key:value"),
            (":path", "is no key"),
            ("a b:c", "is no key"),
            ("", "expected is key:value"),
            ("grpc-timeout: 1S", "is set by gRPC itself"),
            ("Micro-Service: x", "is set by gRPC itself"),
            ("k: é", "base64"),
            ("k: a\nb", "not ASCII"),
            ("k-bin: *", "is not base64"),
        ] {
            let error = text.parse::<Header>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
