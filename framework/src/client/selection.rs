//! Which nodes of a service a call may go to, and how it chooses among them, where it says so itself.

use std::{fmt, sync::Arc};

use micro_registry::Node;

use super::policy::Policy;

/// What a call asks of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Selection {
    /// How to choose; `None` for the client's own way.
    pub(super) policy: Option<Policy>,
    /// Whose nodes come first; `None` for the client's own zone, an empty name for none.
    pub(super) zone: Option<Arc<str>>,
    pub(super) version: Option<Arc<str>>,
    /// Keys and values that a node's metadata must have.
    pub(super) metadata: Vec<(Arc<str>, Arc<str>)>,
}

impl Selection {
    /// Whether a call may go to this node.
    pub(super) fn matches(&self, node: &Node) -> bool {
        let has = |(key, value): &(Arc<str>, Arc<str>)| {
            node.metadata().get(&**key).map(String::as_str) == Some(&**value)
        };
        self.version
            .as_deref()
            .is_none_or(|version| version == node.version())
            && self.metadata.iter().all(has)
    }

    /// Whether there are nodes it may not go to.
    pub(super) fn is_filter(&self) -> bool {
        self.version.is_some() || !self.metadata.is_empty()
    }

    /// This selection, with what it leaves open taken from `defaults`; a key of the metadata is asked for once.
    pub(super) fn or(&self, defaults: &Self) -> Self {
        let mut metadata = self.metadata.clone();
        let missing = |(key, _): &&(Arc<str>, Arc<str>)| self.metadata.iter().all(|(own, _)| own != key);
        metadata.extend(defaults.metadata.iter().filter(missing).cloned());
        Self {
            policy: self.policy.clone().or_else(|| defaults.policy.clone()),
            zone: self.zone.clone().or_else(|| defaults.zone.clone()),
            version: self.version.clone().or_else(|| defaults.version.clone()),
            metadata,
        }
    }
}

/// What a node must have, as errors say it: `` version `1.2`, metadata `zone=a` ``.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = self.version.iter().map(|version| format!("version `{version}`"));
        let metadata = self
            .metadata
            .iter()
            .map(|(key, value)| format!("metadata `{key}={value}`"));
        f.write_str(&version.chain(metadata).collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(version: Option<&str>, metadata: &[(&str, &str)]) -> Selection {
        Selection {
            policy: None,
            zone: None,
            version: version.map(Arc::from),
            metadata: metadata
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
        }
    }

    #[test]
    fn a_node_matches_that_has_all_that_is_asked_for() {
        let node = Node::builder("greeter".parse().unwrap(), "a", "127.0.0.1:9090".parse().unwrap());
        let node = node
            .version("1.2")
            .metadata("zone", "a")
            .metadata("disk", "ssd")
            .build()
            .unwrap();
        for (version, metadata, expected) in [
            (None, &[][..], true),
            (Some("1.2"), &[], true),
            (Some("1"), &[], false),
            (None, &[("zone", "a"), ("disk", "ssd")], true),
            (None, &[("zone", "a"), ("disk", "tape")], false),
            (Some("1.2"), &[("colour", "")], false),
        ] {
            let selection = selection(version, metadata);
            assert_eq!(selection.matches(&node), expected, "{selection}");
            assert_eq!(selection.is_filter(), version.is_some() || !metadata.is_empty());
        }
    }

    #[test]
    fn a_call_s_own_words_come_before_the_channel_s() {
        let call = selection(Some("2"), &[("zone", "a")]);
        let channel = selection(Some("1"), &[("zone", "b"), ("disk", "ssd")]);
        let both = call.or(&channel);
        assert_eq!(both, selection(Some("2"), &[("zone", "a"), ("disk", "ssd")]));
        assert_eq!(
            both.to_string(),
            "version `2`, metadata `zone=a`, metadata `disk=ssd`"
        );
    }
}
