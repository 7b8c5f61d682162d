//! What a node is described by, refused here if no registry could hold it.

use std::{collections::BTreeMap, fmt, str::FromStr};

use micro_registry::{Address, Error, Node, NodeBuilder};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use super::value::Parsed;

/// The id of a node.
#[derive(Clone, Debug)]
pub(super) struct Id(pub(super) String);

impl FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        node(text).build()?;
        Ok(Self(text.to_owned()))
    }
}

/// The version of a service.
#[derive(Clone, Debug)]
pub(super) struct Version(pub(super) String);

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        node("any").version(text).build()?;
        Ok(Self(text.to_owned()))
    }
}

/// The metadata of a node: a table of strings. A variable's `k=v,…` becomes one by [`pairs`].
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata(pub(super) BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Metadata, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, Parsed(value))) = pairs.next_entry::<String, Parsed<String>>()? {
                    let checked = node("any").metadata(key.clone(), value.clone()).build();
                    checked.map_err(A::Error::custom)?;
                    map.insert(key, value);
                }
                Ok(Metadata(map))
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// Reads `k=v,k=v`; a value may have `=` and no comma.
pub(super) fn pairs(text: &str) -> Result<BTreeMap<String, String>, String> {
    text.split(',')
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok((key.trim().to_owned(), value.trim().to_owned()))
            }
            _ => Err(format!(
                "{pair:?} is no pair, expected key=value, separated by commas"
            )),
        })
        .collect()
}

/// A node whose other parts are good.
fn node(id: &str) -> NodeBuilder {
    let service = "any".parse().expect("a good name");
    let address = Address::new("localhost", 1).expect("a host and a port");
    Node::builder(service, id, address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_at_the_first_equals_sign() {
        let read = pairs(" zone = a , url=http://x?y=z,empty=,").unwrap();
        let expected = [("zone", "a"), ("url", "http://x?y=z"), ("empty", "")];
        assert_eq!(
            read,
            expected
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
        for text in ["zone", "=a", "a=b,c"] {
            assert!(pairs(text).unwrap_err().contains("expected key=value"), "{text}");
        }
    }
}
