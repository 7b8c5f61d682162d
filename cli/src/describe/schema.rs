//! The messages and enums that the methods of a service are made of.

use micro::registry::Method;
use micro_dynamic::Catalog;
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use serde_json::{Value, json};

use crate::output::table;

/// What a server describes, in the order in which it is met from the methods on. Google's own types are left out:
/// their JSON is not made of their fields.
#[derive(Debug, Default)]
pub(super) struct Schema {
    methods: Vec<MethodDescriptor>,
    messages: Vec<MessageDescriptor>,
    enums: Vec<EnumDescriptor>,
}

impl Schema {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut schema = Self::default();
        for service in catalog.services() {
            schema.methods.extend(service.methods());
        }
        for method in schema.methods.clone() {
            schema.add(&method.input());
            schema.add(&method.output());
        }
        schema
    }

    /// Adds a message and all that it is made of, without recursion: types may be nested without end.
    fn add(&mut self, message: &MessageDescriptor) {
        let mut open = vec![message.clone()];
        while let Some(message) = open.pop() {
            if message.package_name() == "google.protobuf" || self.messages.contains(&message) {
                continue;
            }
            let kinds: Vec<_> = message.fields().map(|field| inner_kind(&field)).collect();
            self.messages.push(message);
            for kind in kinds.into_iter().rev() {
                match kind {
                    Kind::Message(inner) => open.push(inner),
                    Kind::Enum(inner) if !self.enums.contains(&inner) => self.enums.push(inner),
                    _ => {}
                }
            }
        }
    }

    pub(super) fn methods(&self) -> Vec<Method> {
        let method = |descriptor: &MethodDescriptor| {
            let mut method = Method::new(descriptor.parent_service().full_name(), descriptor.name());
            method.request = descriptor.input().full_name().to_owned();
            method.response = descriptor.output().full_name().to_owned();
            method.client_streaming = descriptor.is_client_streaming();
            method.server_streaming = descriptor.is_server_streaming();
            method
        };
        self.methods.iter().map(method).collect()
    }

    /// Each message and enum with what is in it.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for message in &self.messages {
            lines.push(format!("message {}", message.full_name()));
            let rows: Vec<_> = message
                .fields()
                .map(|field| vec![format!("  {}", field.json_name()), shown_type(&field)])
                .collect();
            lines.extend(table(&rows));
        }
        for descriptor in &self.enums {
            lines.push(format!("enum {}", descriptor.full_name()));
            lines.extend(descriptor.values().map(|value| format!("  {}", value.name())));
        }
        lines
    }

    pub(super) fn messages_to_json(&self) -> Value {
        let fields = |message: &MessageDescriptor| -> Value {
            message.fields().map(|field| field_to_json(&field)).collect()
        };
        let messages = self.messages.iter();
        messages
            .map(|message| (message.full_name().to_owned(), fields(message)))
            .collect()
    }

    pub(super) fn enums_to_json(&self) -> Value {
        let values = |descriptor: &EnumDescriptor| -> Value {
            descriptor.values().map(|value| value.name().to_owned()).collect()
        };
        let enums = self.enums.iter();
        enums
            .map(|descriptor| (descriptor.full_name().to_owned(), values(descriptor)))
            .collect()
    }
}

fn field_to_json(field: &FieldDescriptor) -> Value {
    let mut shown = json!({
        "name": field.json_name(),
        "type": plain_type(field),
        "repeated": field.is_list(),
    });
    if let Some(oneof) = real_oneof(field) {
        shown["oneof"] = oneof.into();
    }
    shown
}

fn shown_type(field: &FieldDescriptor) -> String {
    let repeated = if field.is_list() { "repeated " } else { "" };
    let oneof = real_oneof(field).map_or(String::new(), |oneof| format!(", one of {oneof}"));
    format!("{repeated}{}{oneof}", plain_type(field))
}

/// An `optional` field is a oneof of its own to the compiler, and to nobody else.
fn real_oneof(field: &FieldDescriptor) -> Option<String> {
    field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
        .map(|oneof| oneof.name().to_owned())
}

fn plain_type(field: &FieldDescriptor) -> String {
    if !field.is_map() {
        return format!("{:?}", field.kind());
    }
    match field.kind() {
        Kind::Message(entry) => {
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            format!("map<{:?}, {:?}>", key.kind(), value.kind())
        }
        other => format!("{other:?}"),
    }
}

/// The type of a field, of a map's values.
fn inner_kind(field: &FieldDescriptor) -> Kind {
    match field.kind() {
        Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
        kind => kind,
    }
}
