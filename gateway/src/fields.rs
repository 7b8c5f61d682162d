//! The message of a request for a path of its own: what the path has, what the body has, and the query for the rest.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value};
use serde_json::json;

use crate::{binding::BodyPlace, fault::Fault, query, request, unique};

/// Puts the message together; `body` is nothing where the binding has none.
pub(crate) fn message(
    descriptor: &MessageDescriptor,
    place: &BodyPlace,
    values: &[(String, String)],
    query: Option<&str>,
    body: &[u8],
    depth_max: usize,
) -> Result<DynamicMessage, Fault> {
    match place {
        BodyPlace::Nowhere => query::message_with(descriptor, values, query.unwrap_or_default()),
        BodyPlace::Whole => {
            if query.is_some_and(|query| !query.is_empty()) {
                return Err(Fault::invalid(
                    "the message is in the body, and there is no query",
                ));
            }
            let mut message = request::parse(descriptor, body, depth_max)?;
            let of_path = query::message_with(descriptor, values, "")?;
            for (names, _) in values {
                // The path says which thing is meant, so it comes before what the body says.
                copy(&of_path, &mut message, &names.split('.').collect::<Vec<_>>());
            }
            Ok(message)
        }
        BodyPlace::Field(field) => {
            let mut message = query::message_with(descriptor, values, query.unwrap_or_default())?;
            if message.has_field(field) {
                let message = format!(
                    "the field `{}` is in the body, and not in the query",
                    field.json_name()
                );
                return Err(Fault::invalid(message));
            }
            if let Some(value) = value(descriptor, field, body, depth_max)? {
                message.set_field(field, value);
            }
            Ok(message)
        }
    }
}

/// The body as the value of one field; nothing where there is no body.
fn value(
    descriptor: &MessageDescriptor,
    field: &FieldDescriptor,
    body: &[u8],
    depth_max: usize,
) -> Result<Option<Value>, Fault> {
    let text = request::text(body, depth_max)?;
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    // It is one value, whole, before it is put into an object: `1,"other":2` is none.
    unique::check(text).map_err(|error| Fault::invalid(format!("not JSON: {error}")))?;
    let wrapped = format!("{{{}:{text}}}", json!(field.json_name()));
    let message = request::parse(descriptor, wrapped.as_bytes(), depth_max + 1)?;
    Ok(message
        .has_field(field)
        .then(|| message.get_field(field).into_owned()))
}

fn copy(from: &DynamicMessage, to: &mut DynamicMessage, names: &[&str]) {
    let Some((first, rest)) = names.split_first() else {
        return;
    };
    let Some(field) = from.descriptor().get_field_by_name(first) else {
        return;
    };
    let value = from.get_field(&field);
    if rest.is_empty() {
        // Nothing is said, too: an empty value of the path takes the place of what the body has.
        to.set_field(&field, value.into_owned());
        return;
    }
    let (Some(from), Kind::Message(inner)) = (value.as_message(), field.kind()) else {
        return;
    };
    if !to.has_field(&field) {
        to.set_field(&field, Value::Message(DynamicMessage::new(inner)));
    }
    if let Some(to) = to.get_field_mut(&field).as_message_mut() {
        copy(from, to, rest);
    }
}

#[cfg(test)]
mod tests {
    use micro_dynamic::{fake::desk_pool, to_json};

    use super::*;

    fn read(place: &str, values: &[(&str, &str)], query: Option<&str>, body: &str) -> Option<String> {
        let descriptor = desk_pool().get_message_by_name("desk.BookRequest").unwrap();
        let place = match place {
            "" => BodyPlace::Nowhere,
            "*" => BodyPlace::Whole,
            name => BodyPlace::Field(descriptor.get_field_by_name(name).unwrap()),
        };
        let values: Vec<_> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let message = message(&descriptor, &place, &values, query, body.as_bytes(), 8).ok()?;
        Some(to_json(&message).unwrap())
    }

    fn is(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn what_is_not_in_the_path_is_in_the_query() {
        assert_eq!(
            read("", &[("id", "7")], Some("tag=a&tag=b&book.pages=3"), ""),
            is(r#"{"id":"7","book":{"pages":"3"},"tag":["a","b"]}"#)
        );
        assert_eq!(read("", &[("id", "7")], Some("id=8"), ""), None);
        assert_eq!(read("", &[("page", "x")], None, ""), None);
    }

    #[test]
    fn the_path_comes_before_a_body_that_is_the_message() {
        assert_eq!(
            read("*", &[("id", "7")], None, r#"{"id":"8","name":"n"}"#),
            is(r#"{"name":"n","id":"7"}"#)
        );
        assert_eq!(
            read(
                "*",
                &[("book.title", "t")],
                None,
                r#"{"book":{"pages":"3","title":"x"}}"#
            ),
            is(r#"{"book":{"title":"t","pages":"3"}}"#)
        );
        assert_eq!(
            read("*", &[("book.title", "t")], None, ""),
            is(r#"{"book":{"title":"t"}}"#)
        );
        assert_eq!(read("*", &[("page", "0")], None, r#"{"page":5}"#), is("{}"));
        assert_eq!(read("*", &[], Some("id=7"), "{}"), None);
    }

    #[test]
    fn a_body_that_is_a_field_is_one_value_and_no_more() {
        assert_eq!(
            read("book", &[("name", "n")], Some("page=2"), r#"{"title":"t"}"#),
            is(r#"{"name":"n","book":{"title":"t"},"page":"2"}"#)
        );
        assert_eq!(read("tag", &[], None, r#"["a","b"]"#), is(r#"{"tag":["a","b"]}"#));
        assert_eq!(read("book", &[], None, ""), is("{}"));
        for body in [
            r#"{},"id":"7""#,
            r#"{}} {"#,
            r#"{"titel":"t"}"#,
            "7",
            r#"{"title":"a","title":"b"}"#,
        ] {
            assert_eq!(read("book", &[], None, body), None, "{body}");
        }
        assert_eq!(read("book", &[], Some("book.pages=1"), "{}"), None);
    }
}
