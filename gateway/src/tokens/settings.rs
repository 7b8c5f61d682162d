//! The table `[gateway.tokens]`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    export::Export,
    settings::{Forwarded, duration},
};

/// What clocks may differ by.
const LEEWAY: Duration = Duration::from_secs(30);

/// How tokens are checked.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
#[cfg_attr(
    not(feature = "tokens"),
    expect(dead_code, reason = "without the feature the table is read to be refused")
)]
pub(crate) struct Tokens {
    /// A public key as PEM, or a set of keys as JWKS. It is read again when it changes.
    pub(crate) keys: PathBuf,
    /// Who has to have issued a token.
    pub(crate) issuer: Option<String>,
    /// Whom a token has to be for: one of these.
    #[serde(default)]
    pub(crate) audience: BTreeSet<String>,
    #[serde(default = "leeway", deserialize_with = "duration")]
    pub(crate) leeway: Duration,
    /// What can be called without a token.
    #[serde(default)]
    pub(crate) open: Vec<Export>,
    /// The scope that a token has to have for what.
    #[serde(default, deserialize_with = "scopes")]
    scopes: Vec<(Export, String)>,
    /// The claims that become metadata, and the names they get.
    #[serde(default)]
    pub(crate) forward: BTreeMap<String, Forwarded>,
}

fn leeway() -> Duration {
    LEEWAY
}

impl Tokens {
    /// Those that a fuzzer's tokens are held against.
    #[cfg(all(feature = "tokens", any(test, feature = "fuzzing")))]
    pub(crate) fn fuzzed() -> Self {
        let table = serde_json::json!({ "keys": "k", "issuer": "https://id", "audience": ["shop"] });
        serde_json::from_value(table).expect("the table above is sound")
    }

    /// Whether this method can be called without a token.
    pub(crate) fn is_open(&self, service: &str, kind: &str, method: &str) -> bool {
        let covers = |export: &Export| export.service() == service && export.holds(kind, method);
        self.open.iter().any(covers)
    }

    /// The scopes that a token has to have for this method.
    pub(crate) fn scopes_of(&self, service: &str, kind: &str, method: &str) -> impl Iterator<Item = &str> {
        let covers = move |export: &Export| export.service() == service && export.holds(kind, method);
        let scopes = self.scopes.iter().filter(move |(export, _)| covers(export));
        scopes.map(|(_, scope)| scope.as_str())
    }
}

fn scopes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(Export, String)>, D::Error> {
    let written = BTreeMap::<String, String>::deserialize(deserializer)?;
    let read = written.into_iter().map(|(export, scope)| {
        let export = export.parse().map_err(D::Error::custom)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || !scope.bytes().all(is_plain) {
            return Err(D::Error::custom(format!(
                "{scope:?} is no scope; expected is one such as `orders.read`"
            )));
        }
        Ok((export, scope))
    });
    read.collect()
}

/// Reads the table where tokens can be checked at all; leaving it out unseen would leave everything open.
pub(crate) fn tokens<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Tokens>, D::Error> {
    let tokens = Tokens::deserialize(deserializer)?;
    if cfg!(feature = "tokens") {
        return Ok(Some(tokens));
    }
    Err(D::Error::custom(
        "this gateway was built without the feature `tokens`, and cannot check any",
    ))
}
