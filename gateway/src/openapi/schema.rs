//! The schemas of messages, as the canonical JSON of protobuf has them.

use std::collections::BTreeMap;

use micro_dynamic::Comments;
use prost::Message;
use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::query::is_well_known;

/// Above how many fields of a `oneof` it is not said that they exclude each other: it takes a line for each pair.
const ONEOF_MAX: usize = 16;

/// All schemas, by their names in the document.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    written: BTreeMap<String, Value>,
    /// What each name stands for, so that what another service calls the same gets another name.
    meanings: BTreeMap<String, Vec<u8>>,
    pools: Vec<(DescriptorPool, String)>,
    comments: Comments,
}

impl Schemas {
    /// A reference to a message, or its schema where that is a word.
    pub(super) fn of(&mut self, message: &MessageDescriptor) -> Value {
        self.message(message)
    }

    /// All that were referred to.
    pub(super) fn into_value(self) -> Map<String, Value> {
        self.written.into_iter().collect()
    }

    /// What stands before the names of a pool's types: nothing, unless another pool has others of such names.
    fn prefix(&mut self, pool: &DescriptorPool) -> String {
        if let Some((_, prefix)) = self.pools.iter().find(|(known, _)| known == pool) {
            return prefix.clone();
        }
        let messages = pool.all_messages().map(|message| {
            (
                message.full_name().to_owned(),
                message.descriptor_proto().encode_to_vec(),
            )
        });
        let enums = pool.all_enums().map(|kind| {
            (
                kind.full_name().to_owned(),
                kind.enum_descriptor_proto().encode_to_vec(),
            )
        });
        let meanings: BTreeMap<_, _> = messages.chain(enums).collect();
        let clashes = |(name, meaning): (&String, &Vec<u8>)| {
            self.meanings.get(name).is_some_and(|known| known != meaning)
        };
        let prefix = if meanings.iter().any(clashes) {
            format!("v{}.", self.pools.len() + 1)
        } else {
            self.meanings.extend(meanings);
            String::new()
        };
        self.pools.push((pool.clone(), prefix.clone()));
        prefix
    }

    /// Adds what the proto file says of what has this name to its schema, or to whatever has a description.
    pub(super) fn describe(&mut self, described: &mut Value, pool: &DescriptorPool, full_name: &str) {
        if let Some(comment) = self.comments.of(pool, full_name) {
            described["description"] = comment.into();
        }
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        if is_well_known(message) {
            return well_known(message);
        }
        let name = self.prefix(message.parent_pool()) + message.full_name();
        if !self.written.contains_key(&name) {
            // It may hold itself.
            self.written.insert(name.clone(), Value::Null);
            let schema = self.object(message);
            self.written.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn object(&mut self, message: &MessageDescriptor) -> Value {
        let mut properties = Map::new();
        for field in message.fields() {
            properties.insert(field.json_name().to_owned(), self.field(&field));
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        let required = message
            .fields()
            .filter(|field| field.cardinality() == Cardinality::Required);
        let required: Vec<_> = required.map(|field| field.json_name().to_owned()).collect();
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        let pairs: Vec<_> = message
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic())
            .flat_map(|oneof| pairs(oneof.fields()))
            .collect();
        if !pairs.is_empty() {
            schema["not"] = json!({ "anyOf": pairs });
        }
        self.describe(&mut schema, message.parent_pool(), message.full_name());
        schema
    }

    /// The schema of a field with what is said of it.
    pub(super) fn field(&mut self, field: &FieldDescriptor) -> Value {
        let mut schema = self.value(field);
        self.describe(&mut schema, field.parent_pool(), field.full_name());
        schema
    }

    /// The schema of what a field holds, with its lists and maps.
    pub(super) fn value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let value = self.kind(&entry.map_entry_value_field().kind());
                json!({ "type": "object", "additionalProperties": value })
            }
            kind if field.is_list() => json!({ "type": "array", "items": self.kind(&kind) }),
            kind => self.kind(&kind),
        }
    }

    /// The schema of one value.
    pub(super) fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Message(message) => self.message(message),
            Kind::Enum(kind) => self.enumeration(kind),
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::String => json!({ "type": "string" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Double | Kind::Float => json!({
                "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }],
            }),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
            Kind::Uint32 | Kind::Fixed32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
                json!({ "type": "string", "format": "int64", "pattern": "^-?[0-9]+$" })
            }
            Kind::Uint64 | Kind::Fixed64 => {
                json!({ "type": "string", "format": "uint64", "pattern": "^[0-9]+$" })
            }
        }
    }

    fn enumeration(&mut self, kind: &EnumDescriptor) -> Value {
        if kind.full_name() == "google.protobuf.NullValue" {
            return json!({ "type": "null" });
        }
        let name = self.prefix(kind.parent_pool()) + kind.full_name();
        let names: Vec<_> = kind.values().map(|value| value.name().to_owned()).collect();
        let mut schema = json!({ "type": "string", "enum": names });
        self.describe(&mut schema, kind.parent_pool(), kind.full_name());
        self.written.entry(name.clone()).or_insert(schema);
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }
}

/// Two of the fields at once.
fn pairs(fields: impl Iterator<Item = FieldDescriptor>) -> Vec<Value> {
    let names: Vec<_> = fields.map(|field| field.json_name().to_owned()).collect();
    if names.len() > ONEOF_MAX {
        return Vec::new();
    }
    let with_later = |(at, a): (usize, &String)| {
        let later = &names[at + 1..];
        later
            .iter()
            .map(|b| json!({ "required": [a, b] }))
            .collect::<Vec<_>>()
    };
    names.iter().enumerate().flat_map(with_later).collect()
}

/// Google's own messages, whose JSON is another.
fn well_known(message: &MessageDescriptor) -> Value {
    let name = message
        .full_name()
        .strip_prefix("google.protobuf.")
        .unwrap_or_default();
    match name {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Value" => json!({}),
        "ListValue" => json!({ "type": "array", "items": {} }),
        "Any" => json!({
            "type": "object",
            "properties": { "@type": { "type": "string" } },
            "required": ["@type"],
        }),
        // A wrapper is the value itself, or null.
        name if name.ends_with("Value") => match message.get_field_by_name("value") {
            Some(field) => json!({ "anyOf": [Schemas::default().kind(&field.kind()), { "type": "null" }] }),
            None => json!({}),
        },
        // `Struct`, `Empty`, and what describes descriptors.
        _ => json!({ "type": "object" }),
    }
}
