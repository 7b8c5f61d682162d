//! A message with something in every field, to show what a request looks like.

use std::collections::HashMap;

use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value,
};

/// How deep messages within messages are filled in: recursive types have no end of their own.
const DEPTH_MAX: usize = 3;

/// Noon of the first day of 2030, in seconds since 1970: a moment that looks like one.
const TIMESTAMP_SECONDS: i64 = 1_893_499_200;

/// An example of a message: one field of each `oneof`, one element of each list and map.
#[must_use]
pub fn example(message: &MessageDescriptor) -> DynamicMessage {
    fill(message, DEPTH_MAX)
}

fn fill(descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.package_name() == "google.protobuf" {
        fill_well_known(&mut message);
        return message;
    }
    for field in descriptor.fields() {
        let taken = field
            .containing_oneof()
            .is_some_and(|oneof| oneof.fields().any(|other| message.has_field(&other)));
        if taken {
            continue;
        }
        if let Some(value) = field_value(&field, depth) {
            message.set_field(&field, value);
        }
    }
    message
}

/// Most of Google's messages are best left empty; these three would look odd.
fn fill_well_known(message: &mut DynamicMessage) {
    let seconds = match message.descriptor().name() {
        "Timestamp" => TIMESTAMP_SECONDS,
        "Duration" => 1,
        "StringValue" => {
            message.set_field_by_name("value", Value::String("text".into()));
            return;
        }
        _ => return,
    };
    message.set_field_by_name("seconds", Value::I64(seconds));
}

fn field_value(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            return None;
        };
        let key = map_key(&entry.map_entry_key_field())?;
        let value = single_value(&entry.map_entry_value_field(), depth)?;
        return Some(Value::Map(HashMap::from([(key, value)])));
    }
    let value = single_value(field, depth)?;
    Some(if field.is_list() {
        Value::List(vec![value])
    } else {
        value
    })
}

fn single_value(field: &FieldDescriptor, depth: usize) -> Option<Value> {
    Some(match field.kind() {
        Kind::Double => Value::F64(1.5),
        Kind::Float => Value::F32(1.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(text(field.name())),
        Kind::Bytes => Value::Bytes(bytes::Bytes::from_static(b"bytes")),
        Kind::Enum(descriptor) => {
            // The first value means "nothing said" and would not be shown.
            let value = descriptor
                .values()
                .nth(1)
                .unwrap_or_else(|| descriptor.default_value());
            Value::EnumNumber(value.number())
        }
        // An `Any` without a type has no JSON.
        Kind::Message(message) if message.full_name() == "google.protobuf.Any" => return None,
        Kind::Message(_) if depth == 0 => return None,
        Kind::Message(message) => Value::Message(fill(&message, depth - 1)),
    })
}

fn text(field: &str) -> String {
    match field {
        "name" => "Ada".to_owned(),
        "value" => "text".to_owned(),
        other => other.replace('_', " "),
    }
}

fn map_key(field: &FieldDescriptor) -> Option<MapKey> {
    Some(match field.kind() {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(1),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(1),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(1),
        Kind::Bool => MapKey::Bool(true),
        Kind::String => MapKey::String("key".to_owned()),
        _ => return None,
    })
}
