//! The canonical JSON of protobuf, in and out, with errors that say what would have been right.

use std::fmt;

use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::unknown;

/// The longest text, in bytes, of which it is said what would have been right: all of it has to be read once more for that.
const EXPLAINED_LENGTH_MAX: usize = 64 * 1024;

/// Why a text is not the JSON of a message. `Display` names the place and what is possible there.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonError {
    message: String,
}

/// Reads one message from its JSON.
///
/// # Errors
///
/// What is no JSON of such a message; unknown fields and values are errors, too.
pub fn from_json(descriptor: &MessageDescriptor, text: &str) -> Result<DynamicMessage, JsonError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer)
        .and_then(|message| deserializer.end().map(|()| message));
    read.map_err(|error| {
        // The deserializer knows where it stopped, but not what would have been right.
        let explained = (text.len() <= EXPLAINED_LENGTH_MAX).then_some(text);
        let found = explained
            .and_then(|text| serde_json::from_str(text).ok())
            .and_then(|value| unknown::find(descriptor, &value));
        JsonError {
            message: found
                .unwrap_or_else(|| format!("not the JSON of a `{}`: {error}", descriptor.full_name())),
        }
    })
}

/// Writes one message as JSON on one line.
///
/// # Errors
///
/// When the message holds what JSON has no form for, such as a timestamp out of range or an `Any` of an unknown type.
pub fn to_json(message: &DynamicMessage) -> Result<String, serde_json::Error> {
    serde_json::to_string(message)
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JsonError {}
