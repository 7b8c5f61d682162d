//! Finds the first field or enum value of a JSON text that its message does not have, and says which there are.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// A sentence on the first unknown field or enum value within `value`; `None` when all of them are known.
pub(super) fn find(message: &MessageDescriptor, value: &Value) -> Option<String> {
    find_in_message(message, value, &mut Vec::new())
}

fn find_in_message(message: &MessageDescriptor, value: &Value, path: &mut Vec<String>) -> Option<String> {
    // Google's own messages have a JSON of their own.
    if message.package_name() == "google.protobuf" {
        return None;
    }
    value.as_object()?.iter().find_map(|(name, value)| {
        path.push(name.clone());
        let found = match field(message, name) {
            Some(field) => find_in_field(&field, value, path),
            None => Some(unknown_field(message, path)),
        };
        path.pop();
        found
    })
}

fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name))
}

fn find_in_field(field: &FieldDescriptor, value: &Value, path: &mut Vec<String>) -> Option<String> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            return None;
        };
        let kind = entry.map_entry_value_field().kind();
        return value.as_object()?.iter().find_map(|(key, value)| {
            path.push(key.clone());
            let found = find_in_kind(&kind, value, path);
            path.pop();
            found
        });
    }
    if field.is_list() {
        return value
            .as_array()?
            .iter()
            .find_map(|value| find_in_kind(&field.kind(), value, path));
    }
    find_in_kind(&field.kind(), value, path)
}

fn find_in_kind(kind: &Kind, value: &Value, path: &mut Vec<String>) -> Option<String> {
    match kind {
        Kind::Message(message) => find_in_message(message, value, path),
        Kind::Enum(descriptor) => {
            let name = value.as_str()?;
            let known = descriptor.get_value_by_name(name).is_some()
                || descriptor.package_name() == "google.protobuf";
            (!known).then(|| unknown_value(descriptor, name, path))
        }
        _ => None,
    }
}

fn unknown_field(message: &MessageDescriptor, path: &[String]) -> String {
    let name = message.full_name();
    let fields: Vec<_> = message
        .fields()
        .map(|field| field.json_name().to_owned())
        .collect();
    let path = path.join(".");
    if fields.is_empty() {
        return format!("no field `{path}`: `{name}` has no fields");
    }
    format!(
        "no field `{path}`; the fields of `{name}` are: {}",
        fields.join(", ")
    )
}

fn unknown_value(descriptor: &EnumDescriptor, value: &str, path: &[String]) -> String {
    let values: Vec<_> = descriptor.values().map(|value| value.name().to_owned()).collect();
    format!(
        "no value `{value}` for `{}`; the values of `{}` are: {}",
        path.join("."),
        descriptor.full_name(),
        values.join(", ")
    )
}
