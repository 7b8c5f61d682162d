//! What stands for keys and tokens where the feature is off: there are none, and none holds.

use super::{
    claims::{Claims, Refusal},
    settings::Tokens,
};

/// No keys.
pub(crate) struct Keys;

impl Keys {
    pub(crate) fn parse(_: &[u8]) -> Result<Self, String> {
        Err("this gateway was built without the feature `tokens`".to_owned())
    }

    pub(crate) fn len(&self) -> usize {
        0
    }
}

/// Refuses every token.
pub(crate) fn verify(_: &str, _: &Keys, _: &Tokens) -> Result<Claims, Refusal> {
    Err(Refusal("tokens cannot be checked here"))
}
