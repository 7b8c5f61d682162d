//! What was typed for etcd; used where the registry is etcd.

use serde::Deserialize;

use super::{
    secret::Secret,
    value::{Flag, List, Parsed},
};

/// `[etcd]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Typed {
    address: Option<List>,
    https: Option<Flag>,
    user: Option<Parsed<String>>,
    password_file: Option<Parsed<String>>,
    password: Option<Secret>,
    ca_file: Option<Parsed<String>>,
    client_certificate_file: Option<Parsed<String>>,
    client_key_file: Option<Parsed<String>>,
    prefix: Option<Parsed<String>>,
}

/// The settings of etcd, as far as somebody made them.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    not(feature = "etcd"),
    expect(dead_code, reason = "a build without etcd checks these keys, and uses none")
)]
pub(crate) struct Etcd {
    /// Where it is when nothing else says so.
    pub(crate) addresses: Vec<String>,
    pub(crate) https: Option<bool>,
    pub(crate) user: Option<String>,
    pub(crate) password_file: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) ca_file: Option<String>,
    pub(crate) client_certificate_file: Option<String>,
    pub(crate) client_key_file: Option<String>,
    pub(crate) prefix: Option<String>,
}

impl Typed {
    pub(super) fn settings(&self) -> Etcd {
        let typed = self.clone();
        let text = |typed: Option<Parsed<String>>| typed.map(|Parsed(text)| text);
        Etcd {
            addresses: typed.address.map(|List(texts)| texts).unwrap_or_default(),
            https: typed.https.map(|Flag(is_set)| is_set),
            user: text(typed.user),
            password_file: text(typed.password_file),
            password: typed.password,
            ca_file: text(typed.ca_file),
            client_certificate_file: text(typed.client_certificate_file),
            client_key_file: text(typed.client_key_file),
            prefix: text(typed.prefix),
        }
    }
}
