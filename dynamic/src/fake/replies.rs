//! What the server for tests answers.

use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor, Value};
use prost_types::Any;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};

use crate::json::to_json;

/// What nobody outside may read.
const INSIDE: &str = "password=hunter2 at db-7";

/// The names for which a stream has a bad end after its first message.
pub(super) const ENDS: [&str; 3] = ["falls", "refuses", "panics"];

/// The details of a status, as they come over the wire.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// Who orders.
pub(super) fn name(order: &DynamicMessage) -> String {
    let name = order.get_field_by_name("name");
    let name = name.as_ref().and_then(|name| name.as_str());
    name.unwrap_or_default().to_owned()
}

/// A greeting; an error for `nobody`, for `broken`, and for `gone`, as if the method were; after a first greeting the end for
/// `falls`, `refuses` and `panics`, each in its way; and for names that begin with `x-`, with commas between them, what came
/// under them.
pub(super) fn reply(
    method: &MethodDescriptor,
    name: &str,
    metadata: &MetadataMap,
    count: i32,
) -> Result<DynamicMessage, Status> {
    let suffix = metadata.get("suffix").and_then(|suffix| suffix.to_str().ok());
    let message = match name {
        "nobody" => return Err(Status::not_found("there is nobody")),
        "broken" => return Err(Status::internal(INSIDE)),
        "falls" if count > 1 => return Err(Status::internal(INSIDE)),
        "refuses" if count > 1 => return Err(refusal()),
        "panics" if count > 1 => panic!("{INSIDE}"),
        "gone" => return Err(Status::unimplemented("the method is gone")),
        headers if headers.starts_with("x-") => values(headers, metadata),
        name => format!("Hello {name}{}", suffix.unwrap_or_default()),
    };
    let mut reply = DynamicMessage::new(method.output());
    reply.set_field_by_name("message", Value::String(message));
    reply.set_field_by_name("count", Value::I32(count));
    Ok(reply)
}

/// What a caller may know, and beside it what only those who run the service may.
fn refusal() -> Status {
    let debug = Any {
        type_url: "type.googleapis.com/google.rpc.DebugInfo".to_owned(),
        value: INSIDE.into(),
    };
    let details = RpcStatus { details: vec![debug] };
    let mut metadata = MetadataMap::new();
    metadata.insert("x-inside", MetadataValue::from_static(INSIDE));
    let (code, details) = (Code::InvalidArgument, details.encode_to_vec());
    Status::with_details_and_metadata(code, "the second is wrong", details.into(), metadata)
}

/// The name of the method, the request as JSON, and the book that came with it.
pub(super) fn echo(method: &MethodDescriptor, request: &DynamicMessage) -> Result<DynamicMessage, Status> {
    let json = to_json(request).map_err(|error| Status::internal(error.to_string()))?;
    let mut reply = DynamicMessage::new(method.output());
    reply.set_field_by_name("method", Value::String(method.name().to_owned()));
    reply.set_field_by_name("request", Value::String(json));
    if request.has_field_by_name("book")
        && let Some(book) = request.get_field_by_name("book")
    {
        reply.set_field_by_name("book", book.into_owned());
    }
    Ok(reply)
}

fn values(names: &str, metadata: &MetadataMap) -> String {
    let value = |name: &str| {
        let value = metadata.get(name).and_then(|value| value.to_str().ok());
        format!("{name}={}", value.unwrap_or_default())
    };
    names.split(',').map(value).collect::<Vec<_>>().join(" ")
}
