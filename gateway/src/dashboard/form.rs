//! What a form for a method has to know: its messages and their fields, as the page gets them.

use std::collections::BTreeMap;

use micro_dynamic::{Comments, example, to_json};
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde::Serialize;

use crate::table::{Route, Table};

/// How many messages are described; fields of others are filled in as JSON.
const MESSAGES_MAX: usize = 500;
/// How many values of an enum are offered; others are written by their number.
const VALUES_MAX: usize = 500;

/// The exported methods of a service.
#[derive(Debug, Serialize)]
pub(super) struct Forms {
    methods: Vec<Method>,
    messages: BTreeMap<String, Vec<Field>>,
    #[serde(skip)]
    comments: Comments,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Method {
    kind: String,
    name: String,
    /// What the proto file says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    path: String,
    input: String,
    output: String,
    streams: bool,
    takes_stream: bool,
    has_no_side_effects: bool,
    /// A request with something in every field, as JSON.
    example: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Field {
    /// As the proto file has it.
    name: String,
    /// As JSON has it.
    json: String,
    /// What the proto file says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(flatten)]
    shape: Shape,
    #[serde(skip_serializing_if = "is_false")]
    repeated: bool,
    /// The keys of a map, whose values are of the field's own shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<&'static str>,
    /// Of these fields only one is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    oneof: Option<String>,
    /// Whether a value that says nothing differs from none.
    #[serde(skip_serializing_if = "is_false")]
    optional: bool,
}

/// What a value is, and how it is written.
#[derive(Debug, Serialize)]
struct Shape {
    is: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    values: Vec<String>,
}

impl Forms {
    /// Those of the methods of the service `service` in the registry.
    pub(super) fn new(service: &str, table: &Table) -> Self {
        let mut forms = Self {
            methods: Vec::new(),
            messages: BTreeMap::new(),
            comments: Comments::default(),
        };
        for route in table.routes() {
            forms.describe(&route.method.input());
            let method = Method::new(service, route, &mut forms.comments);
            forms.methods.push(method);
        }
        forms
            .methods
            .sort_by(|a, b| (&a.kind, &a.name).cmp(&(&b.kind, &b.name)));
        forms
    }

    /// Describes a message and all that it is made of, itself included.
    fn describe(&mut self, message: &MessageDescriptor) {
        let mut open = vec![message.clone()];
        while let Some(message) = open.pop() {
            let name = message.full_name();
            if self.messages.contains_key(name) || self.messages.len() >= MESSAGES_MAX {
                continue;
            }
            open.extend(message.fields().filter_map(|field| inner(&field)));
            let fields = message.fields();
            let fields = fields
                .map(|field| Field::new(&field, &mut self.comments))
                .collect();
            self.messages.insert(name.to_owned(), fields);
        }
    }
}

impl Method {
    fn new(service: &str, route: &Route, comments: &mut Comments) -> Self {
        let (method, kind) = (&route.method, route.method.parent_service());
        let input = method.input();
        Self {
            kind: kind.full_name().to_owned(),
            name: method.name().to_owned(),
            description: said(comments, method.parent_pool(), method.full_name()),
            path: format!("/{service}/{}/{}", kind.full_name(), method.name()),
            input: input.full_name().to_owned(),
            output: method.output().full_name().to_owned(),
            streams: method.is_server_streaming(),
            takes_stream: method.is_client_streaming(),
            has_no_side_effects: route.has_no_side_effects,
            example: to_json(&example(&input)).unwrap_or_else(|_| "{}".to_owned()),
        }
    }
}

impl Field {
    fn new(field: &FieldDescriptor, comments: &mut Comments) -> Self {
        let (keys, value) = match field.kind() {
            Kind::Message(entry) if field.is_map() => (
                Some(scalar(&entry.map_entry_key_field().kind())),
                entry.map_entry_value_field(),
            ),
            _ => (None, field.clone()),
        };
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        let is_single = keys.is_none() && !field.is_list();
        Self {
            name: field.name().to_owned(),
            json: field.json_name().to_owned(),
            description: said(comments, field.parent_pool(), field.full_name()),
            optional: is_single && oneof.is_none() && field.supports_presence(),
            oneof: oneof.map(|oneof| oneof.name().to_owned()),
            shape: Shape::new(&value.kind()),
            repeated: field.is_list(),
            keys,
        }
    }
}

impl Shape {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Message(message) => match well_known(message) {
                Some(is) => Self::of(is),
                None => Self {
                    message: Some(message.full_name().to_owned()),
                    ..Self::of("message")
                },
            },
            Kind::Enum(values) if values.full_name() == "google.protobuf.NullValue" => Self::of("json"),
            Kind::Enum(values) => Self {
                values: names(values),
                ..Self::of("enum")
            },
            scalar_kind => Self::of(scalar(scalar_kind)),
        }
    }

    fn of(is: &'static str) -> Self {
        Self {
            is,
            message: None,
            values: Vec::new(),
        }
    }
}

fn said(comments: &mut Comments, pool: &DescriptorPool, full_name: &str) -> Option<String> {
    comments.of(pool, full_name).map(str::to_owned)
}

/// The message that a form of `field` has within it.
fn inner(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let message = match field.kind() {
        Kind::Message(entry) if field.is_map() => match entry.map_entry_value_field().kind() {
            Kind::Message(message) => message,
            _ => return None,
        },
        Kind::Message(message) => message,
        _ => return None,
    };
    well_known(&message).is_none().then_some(message)
}

/// How a message is written whose JSON is not an object of its fields.
fn well_known(message: &MessageDescriptor) -> Option<&'static str> {
    Some(match message.full_name() {
        "google.protobuf.Timestamp" => "timestamp",
        "google.protobuf.Duration" => "duration",
        "google.protobuf.FieldMask" => "fieldmask",
        "google.protobuf.StringValue" => "string",
        "google.protobuf.BytesValue" => "bytes",
        "google.protobuf.BoolValue" => "bool",
        "google.protobuf.Int32Value" => "int32",
        "google.protobuf.UInt32Value" => "uint32",
        "google.protobuf.Int64Value" => "int64",
        "google.protobuf.UInt64Value" => "uint64",
        "google.protobuf.FloatValue" | "google.protobuf.DoubleValue" => "double",
        "google.protobuf.Struct"
        | "google.protobuf.Value"
        | "google.protobuf.ListValue"
        | "google.protobuf.Any" => "json",
        _ => return None,
    })
}

fn scalar(kind: &Kind) -> &'static str {
    match kind {
        Kind::Double | Kind::Float => "double",
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32",
        Kind::Uint32 | Kind::Fixed32 => "uint32",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64",
        Kind::Uint64 | Kind::Fixed64 => "uint64",
        Kind::Bool => "bool",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Message(_) | Kind::Enum(_) => "json",
    }
}

fn names(values: &EnumDescriptor) -> Vec<String> {
    let names = values.values().take(VALUES_MAX);
    names.map(|value| value.name().to_owned()).collect()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
