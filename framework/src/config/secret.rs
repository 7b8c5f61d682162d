//! What is typed as a token or a password.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Visitor};

/// A text that is never shown, not even as what is wrong.
#[derive(Clone)]
pub(crate) struct Secret(
    #[cfg_attr(
        not(any(feature = "consul", feature = "etcd", feature = "otel")),
        expect(dead_code, reason = "a build without them checks these keys, and uses none")
    )]
    pub(crate) String,
);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Option<Secret>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Some(Secret(text.to_owned())))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                Ok(None)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                Ok(None)
            }
        }
        let secret = deserializer.deserialize_any(Form)?;
        // What stands there instead may be a part of it.
        secret.ok_or_else(|| serde::de::Error::custom("expected a string"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
