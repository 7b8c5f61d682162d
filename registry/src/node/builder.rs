//! How a node is made: every check on what it may hold.

use std::sync::Arc;

use super::{BOOT_KEY, Node};
use crate::{Error, Host, Method, Result};

/// The longest node id in bytes: a Consul service id and an etcd key part have room for it.
const ID_LENGTH_MAX: usize = 255;
/// The longest version in bytes.
const VERSION_LENGTH_MAX: usize = 128;
/// The most metadata pairs of a node. Backends may have a lower limit and say so.
const METADATA_PAIRS_MAX: usize = 256;
/// The longest metadata key in bytes.
const METADATA_KEY_LENGTH_MAX: usize = 128;
/// The longest metadata value in bytes.
const METADATA_VALUE_LENGTH_MAX: usize = 4096;
/// The most methods of a node.
const METHODS_MAX: usize = 4096;
/// The longest name of a method, of its service or of a message, in bytes.
const METHOD_NAME_LENGTH_MAX: usize = 255;
/// The longest piece of a refused text in an error, in characters.
const SHOWN_LENGTH_MAX: usize = 100;

/// Collects the parts of a [`Node`]; [`build`](Self::build) does every check.
#[derive(Clone, Debug)]
#[must_use]
pub struct NodeBuilder {
    node: Node,
}

impl NodeBuilder {
    pub(super) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Sets the version of the service. Default: empty.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.node.version = version.into();
        self
    }

    /// Sets the host on which the registry holds the record: see [`Node::origin`]. Default: unknown.
    pub fn origin(mut self, host: Host) -> Self {
        self.node.origin = Some(host);
        self
    }

    /// Sets what tells this start of the process from others. Default: empty, as in records of other programs.
    pub fn boot(mut self, boot: impl Into<String>) -> Self {
        self.node.boot = boot.into();
        self
    }

    /// Adds one pair of metadata; [`BOOT_KEY`] sets [`Node::boot`]. The last of two with one key stands.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        if key == BOOT_KEY {
            return self.boot(value);
        }
        self.node.metadata.insert(key, value.into());
        self
    }

    /// Sets the methods; nodes may share them. Default: none.
    pub fn methods(mut self, methods: impl Into<Arc<[Method]>>) -> Self {
        self.node.methods = methods.into();
        self
    }

    /// The node, checked.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for
    ///
    /// - an id that is empty, `.` or `..`, longer than 255 bytes, or has spaces or control characters;
    /// - a version above 128 bytes, a boot above 255, either with control characters;
    /// - more than 256 pairs of metadata; a key that is empty, above 128 bytes or has control characters; a value above
    ///   4,096 bytes or with a NUL;
    /// - more than 4,096 methods; a method with a name above 255 bytes or with control characters.
    ///
    /// No error holds a value of the metadata.
    pub fn build(self) -> Result<Node> {
        check(&self.node).map_err(|reason| {
            let id = shown(&self.node.id);
            Error::invalid(format!("node id {id} of `{}` {reason}", self.node.service))
        })?;
        Ok(self.node)
    }
}

fn check(node: &Node) -> Result<(), String> {
    check_id(&node.id)?;
    check_text("a version", &node.version, VERSION_LENGTH_MAX)?;
    check_text("a boot", &node.boot, ID_LENGTH_MAX)?;
    check_count("pairs of metadata", node.metadata.len(), METADATA_PAIRS_MAX)?;
    for (key, value) in &node.metadata {
        check_pair(key, value)?;
    }
    check_count("methods", node.methods.len(), METHODS_MAX)?;
    node.methods.iter().try_for_each(check_method)
}

fn check_id(id: &str) -> Result<(), String> {
    // The two are steps of a path in URLs, however they are encoded.
    if matches!(id, "" | "." | "..") {
        return Err("is no name".into());
    }
    if id.len() > ID_LENGTH_MAX {
        return Err(format!("has {} bytes; allowed are {ID_LENGTH_MAX}", id.len()));
    }
    if id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("has a space or control character".into());
    }
    Ok(())
}

fn check_pair(key: &str, value: &str) -> Result<(), String> {
    if key.is_empty() {
        return Err("has an empty metadata key".into());
    }
    check_text("a metadata key", key, METADATA_KEY_LENGTH_MAX)?;
    if value.len() > METADATA_VALUE_LENGTH_MAX || value.contains('\0') {
        let (key, found) = (shown(key), value.len());
        return Err(format!(
            "has metadata {key} with a value of {found} bytes; allowed are {METADATA_VALUE_LENGTH_MAX} without NUL"
        ));
    }
    Ok(())
}

fn check_method(method: &Method) -> Result<(), String> {
    [&method.service, &method.name, &method.request, &method.response]
        .into_iter()
        .try_for_each(|name| check_text("a method with a name", name, METHOD_NAME_LENGTH_MAX))
}

fn check_count(what: &str, found: usize, most: usize) -> Result<(), String> {
    if found > most {
        return Err(format!("has {found} {what}; allowed are {most}"));
    }
    Ok(())
}

fn check_text(what: &str, text: &str, length_max: usize) -> Result<(), String> {
    if text.len() > length_max {
        return Err(format!(
            "has {what} of {} bytes; allowed are {length_max}",
            text.len()
        ));
    }
    if text.contains(char::is_control) {
        return Err(format!("has {what} with a control character"));
    }
    Ok(())
}

/// The start of what another program wrote, quoted and with its marks escaped.
fn shown(text: &str) -> String {
    let start: String = text.chars().take(SHOWN_LENGTH_MAX).collect();
    format!("{start:?}")
}
