//! The parameters of an operation: those of its path, and the fields that its query may have.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{paths::PathParameter, schema::Schemas};
use crate::query::{is_text, is_well_known};

/// How deep fields within fields are listed; the query may go deeper.
const DEPTH_MAX: usize = 4;
/// The most parameters of an operation.
const PARAMETERS_MAX: usize = 64;

/// The parameters of a path.
pub(super) fn of_path(
    parameters: &[PathParameter],
    input: &MessageDescriptor,
    schemas: &mut Schemas,
) -> Vec<Value> {
    let parameter = |parameter: &PathParameter| {
        let field = parameter
            .field
            .as_ref()
            .filter(|_| parameter.is_whole)
            .and_then(|path| find(input, path));
        let mut value = json!({ "name": parameter.name, "in": "path", "required": true });
        match &field {
            Some(field) => of_field(&mut value, field, schemas),
            None => value["schema"] = json!({ "type": "string" }),
        }
        if parameter.is_rest {
            add(&mut value, "May have several segments, with `/` between them.");
        } else if let Some(field) = parameter.field.as_ref().filter(|_| !parameter.is_whole) {
            add(&mut value, &format!("A part of `{field}`."));
        }
        value
    };
    parameters.iter().map(parameter).collect()
}

/// The parameters of a query: all fields that have a text, those in `taken` and what is within them apart.
pub(super) fn of_query(input: &MessageDescriptor, taken: &[&str], schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    collect(
        input,
        "",
        taken,
        schemas,
        &mut vec![input.full_name().to_owned()],
        &mut parameters,
    );
    parameters.truncate(PARAMETERS_MAX);
    parameters
}

fn collect(
    message: &MessageDescriptor,
    before: &str,
    taken: &[&str],
    schemas: &mut Schemas,
    within: &mut Vec<String>,
    parameters: &mut Vec<Value>,
) {
    for field in message.fields() {
        let path = format!("{before}{}", field.name());
        if taken.contains(&path.as_str()) || field.is_map() {
            continue;
        }
        // The query takes names of the proto file, too, which is what stands before.
        let name = format!("{before}{}", field.json_name());
        match field.kind() {
            Kind::Message(inner) if !is_well_known(&inner) => {
                let is_deeper = !field.is_list()
                    && within.len() < DEPTH_MAX
                    && !within.iter().any(|name| name == inner.full_name());
                if is_deeper {
                    within.push(inner.full_name().to_owned());
                    collect(&inner, &format!("{path}."), taken, schemas, within, parameters);
                    within.pop();
                }
            }
            Kind::Message(inner) if !is_text(inner.full_name()) => {}
            _ => {
                let mut parameter = json!({ "name": name, "in": "query" });
                of_field(&mut parameter, &field, schemas);
                parameters.push(parameter);
            }
        }
    }
}

/// Says of a parameter what is known of its field.
fn of_field(parameter: &mut Value, field: &FieldDescriptor, schemas: &mut Schemas) {
    parameter["schema"] = schemas.value(field);
    schemas.describe(parameter, field.parent_pool(), field.full_name());
}

/// Adds a paragraph to what is said of a parameter.
fn add(parameter: &mut Value, paragraph: &str) {
    let said = parameter["description"].as_str();
    parameter["description"] = said
        .map_or_else(|| paragraph.to_owned(), |said| format!("{said}\n\n{paragraph}"))
        .into();
}

/// The field of a path such as `book.title`.
pub(super) fn find(message: &MessageDescriptor, path: &str) -> Option<FieldDescriptor> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = message.get_field_by_name(first)?;
    match field.kind() {
        _ if rest.is_empty() => Some(field),
        Kind::Message(inner) => find(&inner, rest),
        _ => None,
    }
}
