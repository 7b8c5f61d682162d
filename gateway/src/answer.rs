//! The answer of a call, as one JSON or as a stream of them.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::{HeaderValue, Response, header};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use micro_dynamic::to_json;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, ReflectMessage, SerializeOptions};
use serde_json::{Value, json};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Duration, Instant, timeout, timeout_at},
};
use tonic::{Status, Streaming, body::Body};

use crate::{accept::Format, fault::Fault, witness::Witness};

/// After how much silence an event stream shows that it lives.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// A line that is no event.
const SIGN_OF_LIFE: &[u8] = b":\n\n";

/// One message, or the only field of it that is shown.
pub(crate) fn message(
    reply: &DynamicMessage,
    only: Option<&FieldDescriptor>,
) -> Result<Response<Body>, Status> {
    Ok(response(Format::Json, Body::new(Full::from(json(reply, only)?))))
}

fn json(reply: &DynamicMessage, only: Option<&FieldDescriptor>) -> Result<String, Status> {
    let written = match only {
        None => to_json(reply),
        Some(field) => field_to_json(reply, field),
    };
    written.map_err(|error| Status::internal(format!("write the answer as JSON: {error}")))
}

fn field_to_json(reply: &DynamicMessage, field: &FieldDescriptor) -> Result<String, serde_json::Error> {
    let mut part = DynamicMessage::new(reply.descriptor());
    let is_set = reply.has_field(field);
    if is_set {
        part.set_field(field, reply.get_field(field).into_owned());
    }
    // What is not set is in the JSON of the whole as little as in the message, and is here by itself.
    let options = SerializeOptions::new().skip_default_fields(is_set);
    let value = part.serialize_with_options(serde_json::value::Serializer, &options)?;
    Ok(value.get(field.json_name()).unwrap_or(&Value::Null).to_string())
}

/// The messages of a stream, each as it comes, and how it ended if not well. Dropping the body ends the call.
pub(crate) struct Replies {
    pub(crate) format: Format,
    pub(crate) replies: Streaming<DynamicMessage>,
    /// The only field of each that is shown.
    pub(crate) only: Option<FieldDescriptor>,
    pub(crate) deadline: Instant,
    pub(crate) pool: DescriptorPool,
    pub(crate) witness: Witness,
    /// The place of the request among those worked on.
    pub(crate) place: OwnedSemaphorePermit,
}

impl Replies {
    pub(crate) fn into_response(self) -> Response<Body> {
        let format = self.format;
        response(format, Body::new(StreamBody::new(self.frames())))
    }

    fn frames(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        stream::unfold(Some(self), |replies| async {
            let mut replies = replies?;
            let (bytes, is_end) = replies.next().await?;
            Some((Ok(Frame::data(bytes)), (!is_end).then_some(replies)))
        })
    }

    /// The next piece, and whether it is the last; `None` after a good end.
    async fn next(&mut self) -> Option<(Bytes, bool)> {
        // The place is held for as long as the body is.
        let _ = &self.place;
        let message = timeout_at(self.deadline, self.replies.message());
        let message = match self.format {
            Format::Events => match timeout(SILENCE_MAX, message).await {
                Ok(message) => message,
                Err(_) => return Some((Bytes::from_static(SIGN_OF_LIFE), false)),
            },
            Format::Json | Format::Lines => message.await,
        };
        let failure = match message {
            Ok(Ok(None)) => return self.good_end(),
            Ok(Ok(Some(reply))) => match json(&reply, self.only.as_ref()) {
                Ok(json) => return Some((self.piece("result", &json), false)),
                Err(status) => status,
            },
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("the stream took longer than it may"),
        };
        let fault = Fault::of_call(&failure, &self.pool);
        self.witness.tell(&failure);
        Some((
            self.piece("error", &fault.to_json(&self.witness.id).to_string()),
            true,
        ))
    }

    /// A client of events connects again to a stream that just ends, unless it was told.
    fn good_end(&self) -> Option<(Bytes, bool)> {
        (self.format == Format::Events).then(|| (Bytes::from_static(b"event: end\ndata: {}\n\n"), true))
    }

    fn piece(&self, kind: &str, json: &str) -> Bytes {
        match self.format {
            Format::Events => format!("event: {kind}\ndata: {json}\n\n"),
            Format::Json | Format::Lines => format!("{{{}:{json}}}\n", json!(kind)),
        }
        .into()
    }
}

fn response(format: Format, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
