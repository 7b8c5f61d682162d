//! What was typed for Consul; used where the registry is Consul.

use std::time::Duration;

use serde::Deserialize;

use super::{
    secret::Secret,
    value::{Flag, List, Parsed, Span},
};

/// `[consul]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct Typed {
    address: Option<List>,
    token_file: Option<Parsed<String>>,
    token: Option<Secret>,
    https: Option<Flag>,
    ca_file: Option<Parsed<String>>,
    client_certificate_file: Option<Parsed<String>>,
    client_key_file: Option<Parsed<String>>,
    datacenter: Option<Parsed<String>>,
    check: Option<Parsed<String>>,
    check_interval: Option<Span>,
    check_timeout: Option<Span>,
    deregister_critical_after: Option<Span>,
    tags: Option<List>,
    connect_native: Option<Flag>,
}

/// The settings of Consul, as far as somebody made them.
#[derive(Clone, Debug, Default)]
#[cfg_attr(
    not(feature = "consul"),
    expect(dead_code, reason = "a build without Consul checks these keys, and uses none")
)]
pub(crate) struct Consul {
    /// Where it is when nothing else says so.
    pub(crate) addresses: Vec<String>,
    pub(crate) token_file: Option<String>,
    pub(crate) token: Option<Secret>,
    pub(crate) https: bool,
    pub(crate) ca_file: Option<String>,
    pub(crate) client_certificate_file: Option<String>,
    pub(crate) client_key_file: Option<String>,
    pub(crate) datacenter: Option<String>,
    pub(crate) check: Option<String>,
    pub(crate) check_interval: Option<Duration>,
    pub(crate) check_timeout: Option<Duration>,
    pub(crate) deregister_critical_after: Option<Duration>,
    pub(crate) tags: Vec<String>,
    pub(crate) connect_native: bool,
}

impl Typed {
    pub(super) fn settings(&self) -> Consul {
        let typed = self.clone();
        let text = |typed: Option<Parsed<String>>| typed.map(|Parsed(text)| text);
        let list = |typed: Option<List>| typed.map(|List(texts)| texts).unwrap_or_default();
        let flag = |typed: Option<Flag>| typed.is_some_and(|Flag(is_set)| is_set);
        let span = |typed: Option<Span>| typed.map(|Span(duration)| duration);
        Consul {
            addresses: list(typed.address),
            token_file: text(typed.token_file),
            token: typed.token,
            https: flag(typed.https),
            ca_file: text(typed.ca_file),
            client_certificate_file: text(typed.client_certificate_file),
            client_key_file: text(typed.client_key_file),
            datacenter: text(typed.datacenter),
            check: text(typed.check),
            check_interval: span(typed.check_interval),
            check_timeout: span(typed.check_timeout),
            deregister_critical_after: span(typed.deregister_critical_after),
            tags: list(typed.tags),
            connect_native: flag(typed.connect_native),
        }
    }
}
