//! Lists and maps of what others wrote, with a limit on what they take before anybody has looked at them.

use std::{
    collections::{BTreeMap, btree_map},
    fmt,
    marker::PhantomData,
    slice, vec,
};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

/// The most pairs of one map, some more than a node may have.
const PAIRS_MAX: usize = 512;

/// A list of at most `MOST`.
///
/// ```
/// use micro_registry::bounded::AtMost;
///
/// assert!(serde_json::from_str::<AtMost<2, u8>>("[1, 2]").is_ok());
/// assert!(serde_json::from_str::<AtMost<2, u8>>("[1, 2, 3]").is_err());
/// ```
#[derive(Clone, Debug)]
pub struct AtMost<const MOST: usize, T>(Vec<T>);

/// At most 512 pairs, of which no two have one key; `null` is an empty value, as Go reads it.
///
/// ```
/// use micro_registry::bounded::Pairs;
///
/// let pairs: Pairs = serde_json::from_str(r#"{"zone": "a", "note": null}"#)?;
/// assert_eq!((pairs.get("zone"), pairs.get("note"), pairs.get("a")), (Some("a"), Some(""), None));
/// assert!(serde_json::from_str::<Pairs>(r#"{"zone": "a", "zone": "b"}"#).is_err());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Pairs(BTreeMap<String, String>);

impl Pairs {
    /// The value of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All of them, by their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }

    /// Adds what `others` has, whose values stand where both have a key.
    ///
    /// # Errors
    ///
    /// When they are too many together; then some are added.
    pub fn extend(&mut self, others: Self) -> Result<(), TooMany> {
        for (key, value) in others {
            self.0.insert(key, value);
            if self.0.len() > PAIRS_MAX {
                return Err(TooMany);
            }
        }
        Ok(())
    }
}

impl<const MOST: usize, T> AtMost<MOST, T> {
    /// All of them, in their order.
    pub fn iter(&self) -> slice::Iter<'_, T> {
        self.0.iter()
    }
}

impl<'a, const MOST: usize, T> IntoIterator for &'a AtMost<MOST, T> {
    type Item = &'a T;
    type IntoIter = slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Pairs that were too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there are more than {PAIRS_MAX} pairs")
    }
}

impl std::error::Error for TooMany {}

impl<const MOST: usize, T> IntoIterator for AtMost<MOST, T> {
    type Item = T;
    type IntoIter = vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl IntoIterator for Pairs {
    type Item = (String, String);
    type IntoIter = btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'de, const MOST: usize, T: Deserialize<'de>> Deserialize<'de> for AtMost<MOST, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<const MOST: usize, T>(PhantomData<T>);
        impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
            type Value = AtMost<MOST, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {MOST}")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MOST {
                        return Err(A::Error::invalid_length(MOST + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(AtMost(elements))
            }
        }
        deserializer.deserialize_seq(List(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map of at most {PAIRS_MAX} texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    if pairs.insert(key, value.unwrap_or_default()).is_some() {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                    if pairs.len() > PAIRS_MAX {
                        return Err(A::Error::invalid_length(pairs.len(), &self));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Map)
    }
}
