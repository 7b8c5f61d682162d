//! The message in the query of a GET request: `?name=Ada&price.units=3&tags=a&tags=b`.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value};

use crate::{fault::Fault, request};

/// The most parameters of one request.
const PARAMETERS_MAX: usize = 64;
/// The longest query in bytes, as it was sent.
const LENGTH_MAX: usize = 4096;
/// How many names a parameter may have, with dots between them.
const NAMES_MAX: usize = 8;

/// Reads the message that a query holds. A name leads to a field, dots to the fields within it; a name that comes several
/// times is a list.
pub(crate) fn message(descriptor: &MessageDescriptor, query: &str) -> Result<DynamicMessage, Fault> {
    message_with(descriptor, &[], query)
}

/// Reads the message that a query holds together with `values`, which are names and values that were in the path.
pub(crate) fn message_with(
    descriptor: &MessageDescriptor,
    values: &[(String, String)],
    query: &str,
) -> Result<DynamicMessage, Fault> {
    if query.len() > LENGTH_MAX {
        return Err(Fault::invalid(format!(
            "the query is longer than {LENGTH_MAX} bytes"
        )));
    }
    let parameters: Vec<_> = query
        .split('&')
        .filter(|parameter| !parameter.is_empty())
        .collect();
    if parameters.len() > PARAMETERS_MAX {
        return Err(Fault::invalid(format!(
            "the query has more than {PARAMETERS_MAX} parameters"
        )));
    }
    let mut object = Map::new();
    let decoded = parameters.into_iter().map(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        Ok((decode(name)?, decode(value)?))
    });
    for parameter in values.iter().cloned().map(Ok).chain(decoded) {
        let (name, value) = parameter?;
        let names: Vec<&str> = name.split('.').collect();
        if names.len() > NAMES_MAX {
            return Err(Fault::invalid(format!(
                "a parameter has more than {NAMES_MAX} names"
            )));
        }
        set(&mut object, descriptor, &names, &name, value)?;
    }
    let json = Value::Object(object).to_string();
    request::parse(descriptor, json.as_bytes(), NAMES_MAX + 2)
}

fn set(
    object: &mut Map<String, Value>,
    descriptor: &MessageDescriptor,
    names: &[&str],
    whole: &str,
    value: String,
) -> Result<(), Fault> {
    let unknown = || Fault::invalid(format!("no parameter `{}`", shown(whole)));
    let (first, rest) = names.split_first().ok_or_else(unknown)?;
    let field = descriptor
        .get_field_by_json_name(first)
        .or_else(|| descriptor.get_field_by_name(first))
        .ok_or_else(unknown)?;
    let key = field.json_name().to_owned();
    if rest.is_empty() {
        let value = leaf(&field, value).ok_or_else(|| {
            Fault::invalid(format!(
                "the parameter `{}` cannot be written in a query",
                shown(whole)
            ))
        })?;
        return put(object, &field, key, value)
            .map_err(|()| Fault::invalid(format!("the parameter `{}` comes twice", shown(whole))));
    }
    match field.kind() {
        Kind::Message(inner) if !field.is_list() && !field.is_map() && !is_well_known(&inner) => {
            let entry = object.entry(key).or_insert_with(|| Value::Object(Map::new()));
            let inner_object = entry.as_object_mut().ok_or_else(unknown)?;
            set(inner_object, &inner, rest, whole, value)
        }
        _ => Err(unknown()),
    }
}

fn put(
    object: &mut Map<String, Value>,
    field: &FieldDescriptor,
    key: String,
    value: Value,
) -> Result<(), ()> {
    if field.is_list() {
        let list = object.entry(key).or_insert_with(|| Value::Array(Vec::new()));
        list.as_array_mut().ok_or(())?.push(value);
        return Ok(());
    }
    match object.insert(key, value) {
        Some(_) => Err(()),
        None => Ok(()),
    }
}

/// A text as the JSON of a field; `None` where that is an object.
fn leaf(field: &FieldDescriptor, text: String) -> Option<Value> {
    if field.is_map() {
        return None;
    }
    Some(match field.kind() {
        Kind::Bool => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => Value::String(text),
        },
        // The number of a value, where it is not its name.
        Kind::Enum(_) => text.parse::<i32>().map_or(Value::String(text), Value::from),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.BoolValue" if text == "true" || text == "false" => Value::Bool(text == "true"),
            name if is_text(name) => Value::String(text),
            _ => return None,
        },
        // Numbers may be text in the JSON of protobuf.
        _ => Value::String(text),
    })
}

pub(crate) fn is_well_known(message: &MessageDescriptor) -> bool {
    message.package_name() == "google.protobuf"
}

/// Google's messages whose JSON is a text, or may be one.
pub(crate) fn is_text(full_name: &str) -> bool {
    let name = full_name.strip_prefix("google.protobuf.").unwrap_or_default();
    matches!(name, "Timestamp" | "Duration" | "FieldMask")
        || name.ends_with("Value") && name != "ListValue" && name != "Value"
}

fn shown(name: &str) -> String {
    name.chars().take(64).collect()
}

/// Undoes the encoding of a form, once.
fn decode(text: &str) -> Result<String, Fault> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    let wrong = || Fault::invalid("the query has a `%` without two hexadecimal digits");
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || {
                    rest.next()
                        .and_then(|digit| char::from(digit).to_digit(16))
                        .ok_or_else(wrong)
                };
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte")
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).map_err(|_| Fault::invalid("the query is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use micro_dynamic::{fake::pool, to_json};

    use super::*;

    fn read(query: &str) -> Result<String, Fault> {
        let descriptor = pool().get_message_by_name("shop.OrderRequest").unwrap();
        message(&descriptor, query).map(|message| to_json(&message).unwrap())
    }

    #[test]
    fn fields_are_found_by_their_names() {
        for (query, expected) in [
            ("", "{}"),
            ("name=Ada", r#"{"name":"Ada"}"#),
            ("name=A+d%C3%A4%26&", r#"{"name":"A dä&"}"#),
            (
                "price.units=7&price.currency=EUR",
                r#"{"price":{"currency":"EUR","units":"7"}}"#,
            ),
            ("size=SIZE_LARGE", r#"{"size":"SIZE_LARGE"}"#),
            ("size=2", r#"{"size":"SIZE_LARGE"}"#),
            ("at=2030-01-01T12:00:00Z", r#"{"at":"2030-01-01T12:00:00Z"}"#),
            ("streetName=a", r#"{"streetName":"a"}"#),
            ("street_name=a", r#"{"streetName":"a"}"#),
            ("locker=3", r#"{"locker":3}"#),
            ("gift.gift.name=x", r#"{"gift":{"gift":{"name":"x"}}}"#),
        ] {
            assert_eq!(read(query).unwrap(), expected, "{query}");
        }
    }

    #[test]
    fn what_has_no_place_in_the_message_is_refused() {
        let long = format!("name={}", "x".repeat(LENGTH_MAX));
        let many = "name=a&".repeat(PARAMETERS_MAX + 1);
        let deep = format!("{}name=a", "gift.".repeat(NAMES_MAX));
        for query in [
            "nam=Ada",
            "name.x=1",
            "price=1",
            "extras.units=1",
            "byShop.a.units=1",
            "name=a&name=b",
            "locker=x",
            "size=HUGE",
            "name=%",
            "name=%4",
            "name=%+1",
            "name=%ff",
            "=a",
            ".=a",
            "at.seconds=1",
            "streetName=a&locker=1",
            "extras=1",
            &long,
            &many,
            &deep,
        ] {
            assert!(read(query).is_err(), "{query}");
        }
    }
}
