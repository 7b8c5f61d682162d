//! What a token says, or why it says nothing.

use serde_json::{Map, Value};

/// Why a token is refused, in words for its bearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) &'static str);

/// What a token that holds says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    #[cfg(feature = "tokens")]
    pub(crate) fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Whom it is about.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.0.get("sub").and_then(Value::as_str)
    }

    /// Whether it has this scope: among the words of `scope`, or in the list `scope` or `scp`.
    pub(crate) fn has_scope(&self, scope: &str) -> bool {
        let has = |value: &Value| match value {
            Value::String(words) => words.split(' ').any(|word| word == scope),
            Value::Array(list) => list.iter().any(|word| word.as_str() == Some(scope)),
            _ => false,
        };
        ["scope", "scp"]
            .into_iter()
            .filter_map(|name| self.0.get(name))
            .any(has)
    }

    /// A claim as text: a list as its JSON, and nothing where it is nothing.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        match self.0.get(name)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}
