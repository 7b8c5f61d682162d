//! What went wrong, as those outside are told: a status of HTTP, and `google.rpc.Status` as JSON.

use std::{borrow::Cow, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::Any;
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};

use crate::{dashboard::AnsweredBy, find::Allow, headers::RequestId};

/// Whose metadata names the node that answered; what has none was made on this side of the wire.
const NODE: &str = "micro-node";
/// The time after which a server wants to be asked again.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// What was meant for those who debug a service, whatever the code.
const DEBUG_INFO: &str = "google.rpc.DebugInfo";
const REQUEST_INFO: &str = "type.googleapis.com/google.rpc.RequestInfo";

/// A request that did not succeed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    status: StatusCode,
    code: Code,
    message: Cow<'static, str>,
    details: Vec<Value>,
    allow: Option<Box<str>>,
    retry_after_seconds: Option<u64>,
    /// The node that answered.
    node: Option<Box<HeaderValue>>,
    challenge: Option<Box<str>>,
    /// Whether what follows on the connection is not to be read.
    closes: bool,
}

/// The details of a status, as they come over the wire.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

impl Fault {
    /// What the gateway itself has to say.
    pub(crate) fn new(status: StatusCode, code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: Vec::new(),
            allow: None,
            retry_after_seconds: None,
            node: None,
            challenge: None,
            closes: false,
        }
    }

    /// The request makes no sense: 400.
    pub(crate) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::InvalidArgument, message)
    }

    /// Where the request ends is not certain, so that what follows may be part of it: 400, and the end of the connection.
    pub(crate) fn endless(message: &'static str) -> Self {
        Self {
            closes: true,
            ..Self::invalid(message)
        }
    }

    /// There is nothing here, or nothing that may be reached; which of the two is nobody's business: 404.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::NotFound, "there is no such method")
    }

    /// Says what credentials would be fitting, as `WWW-Authenticate` has it.
    pub(crate) fn challenge(self, challenge: String) -> Self {
        Self {
            challenge: Some(challenge.into()),
            ..self
        }
    }

    /// The HTTP method does not fit: 405.
    pub(crate) fn not_allowed(allow: &Allow) -> Self {
        let message = format!("allowed are {allow}");
        Self {
            allow: Some(allow.to_string().into()),
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::Unimplemented, message)
        }
    }

    /// It is not known whether there is anything here, as a service has not described itself yet: 503.
    pub(crate) fn not_known() -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "no service that is known has such a method, and one is not known yet",
            )
        }
    }

    /// There are as many requests as there may be: 503.
    pub(crate) fn overloaded() -> Self {
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                Code::Unavailable,
                "too many requests are being worked on",
            )
        }
    }

    /// The client has sent more requests than it may, and may send one after `wait`: 429.
    pub(crate) fn too_many(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self {
            retry_after_seconds: Some(seconds.max(1)),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                Code::ResourceExhausted,
                "this client has sent more requests than it may",
            )
        }
    }

    /// A call ended with `status`: what a node said to its caller is passed on, what tells of our insides is not.
    pub(crate) fn of_call(status: &Status, pool: &DescriptorPool) -> Self {
        let code = status.code();
        let node = node(status);
        if is_hidden(status) {
            return Self {
                node,
                retry_after_seconds: retry_after_seconds(status),
                ..Self::new(http_status(code), code, general(code))
            };
        }
        Self {
            node,
            details: details(status.details(), pool),
            retry_after_seconds: retry_after_seconds(status),
            ..Self::new(http_status(code), code, status.message().to_owned())
        }
    }

    /// `google.rpc.Status`, with the id of the request among its details.
    pub(crate) fn to_json(&self, id: &RequestId) -> Value {
        let mut details = self.details.clone();
        details.push(json!({ "@type": REQUEST_INFO, "requestId": id.as_str() }));
        json!({ "code": self.code as i32, "message": self.message, "details": details })
    }

    /// The same for a caller of gRPC-Web: a status in headers, which of HTTP is always 200.
    pub(crate) fn into_grpc_web(self, content_type: HeaderValue) -> Response<Body> {
        let response = Status::new(self.code, self.message.clone()).into_http();
        self.with_headers(response, content_type)
    }

    pub(crate) fn into_response(self, id: &RequestId) -> Response<Body> {
        let body = Full::from(self.to_json(id).to_string());
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = self.status;
        self.with_headers(response, HeaderValue::from_static("application/json"))
    }

    fn with_headers(self, mut response: Response<Body>, content_type: HeaderValue) -> Response<Body> {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::from_str(&allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(challenge) = self
            .challenge
            .and_then(|challenge| HeaderValue::from_str(&challenge).ok())
        {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(node) = self.node {
            response.extensions_mut().insert(AnsweredBy(*node));
        }
        response
    }
}

fn node(status: &Status) -> Option<Box<HeaderValue>> {
    let node = status.metadata().get(NODE)?.as_encoded_bytes();
    HeaderValue::from_bytes(node).ok().map(Box::new)
}

/// What of `status` a caller of gRPC-Web is shown: as much as one of HTTP.
pub(crate) fn shown(status: &Status) -> Status {
    let code = status.code();
    if is_hidden(status) {
        return Status::new(code, general(code));
    }
    let details = RpcStatus::decode(status.details()).unwrap_or_default().details;
    let tells_of_the_inside = details.iter().any(|any| type_name(any) == DEBUG_INFO);
    let details = if tells_of_the_inside {
        &[]
    } else {
        status.details()
    };
    Status::with_details(code, status.message(), details.to_vec().into())
}

/// Whether the text of `status` was made by this side, or may tell of what is behind the service.
pub(crate) fn is_hidden(status: &Status) -> bool {
    let is_of_the_inside = matches!(
        status.code(),
        Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    );
    is_of_the_inside || !status.metadata().contains_key(NODE)
}

/// gRPC's own table, of `google/rpc/code.proto`.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499, which is nginx's: the client went away.
        Code::Cancelled => StatusCode::from_u16(499).expect("a number of three digits"),
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
    }
}

/// What is said instead of a text that stays inside.
fn general(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "the call was cancelled",
        Code::DeadlineExceeded => "the call took longer than it may",
        Code::Unimplemented => "the method is not implemented",
        Code::Unavailable => "the service is not available at present",
        Code::ResourceExhausted => "the service has too much to do, or the message is too large",
        Code::Unauthenticated => "the call needs credentials",
        Code::PermissionDenied => "the call is not permitted",
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => "the call was refused",
        Code::Ok
        | Code::Unknown
        | Code::Internal
        | Code::DataLoss
        | Code::NotFound
        | Code::AlreadyExists
        | Code::Aborted => "the call failed; the request id tells those who run the service which one it was",
    }
}

fn retry_after_seconds(status: &Status) -> Option<u64> {
    let pushback = status.metadata().get(PUSHBACK)?.to_str().ok()?;
    Some(pushback.parse::<u64>().ok()?.div_ceil(1000))
}

/// The details whose types the service describes, as JSON; what is of another type comes as its bytes.
fn details(bytes: &[u8], pool: &DescriptorPool) -> Vec<Value> {
    let Ok(status) = RpcStatus::decode(bytes) else {
        return Vec::new();
    };
    let of_callers = status.details.iter().filter(|any| type_name(any) != DEBUG_INFO);
    of_callers.map(|any| detail(any, pool)).collect()
}

fn detail(any: &Any, pool: &DescriptorPool) -> Value {
    let described = pool
        .get_message_by_name(type_name(any))
        .and_then(|descriptor| DynamicMessage::decode(descriptor, any.value.as_slice()).ok())
        .and_then(|message| serde_json::to_value(message).ok());
    match described {
        Some(Value::Object(mut fields)) => {
            fields.insert("@type".to_owned(), any.type_url.clone().into());
            Value::Object(fields)
        }
        // Messages whose JSON is no object have it as their value, as within `Any`.
        Some(value) => json!({ "@type": any.type_url, "value": value }),
        None => json!({ "@type": any.type_url, "value": STANDARD.encode(&any.value) }),
    }
}

fn type_name(any: &Any) -> &str {
    any.type_url
        .rsplit_once('/')
        .map_or(any.type_url.as_str(), |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use micro_dynamic::fake::pool;
    use tonic::metadata::MetadataMap;

    use super::*;

    fn of_node(code: Code, message: &str, details: &[Any]) -> Status {
        let mut metadata = MetadataMap::new();
        metadata.insert(NODE, "shop-1".parse().unwrap());
        let details = RpcStatus {
            details: details.to_vec(),
        };
        Status::with_details_and_metadata(code, message, details.encode_to_vec().into(), metadata)
    }

    #[test]
    fn a_refusal_of_the_service_is_passed_on_with_what_can_be_read_of_its_details() {
        let money = Any {
            type_url: "type.googleapis.com/money.Money".to_owned(),
            value: vec![0x0a, 3, b'E', b'U', b'R'],
        };
        let foreign = Any {
            type_url: "type.googleapis.com/elsewhere.Thing".to_owned(),
            value: vec![1],
        };
        let debug = Any {
            type_url: "type.googleapis.com/google.rpc.DebugInfo".to_owned(),
            value: vec![],
        };
        let status = of_node(Code::FailedPrecondition, "too dear", &[money, debug, foreign]);
        let fault = Fault::of_call(&status, &pool());
        assert_eq!(
            fault
                .to_json(&RequestId::of(None))
                .get("details")
                .unwrap()
                .as_array()
                .unwrap()[..2],
            [
                json!({ "@type": "type.googleapis.com/money.Money", "currency": "EUR" }),
                json!({ "@type": "type.googleapis.com/elsewhere.Thing", "value": "AQ==" }),
            ]
        );
        assert_eq!(
            (fault.status, &*fault.message),
            (StatusCode::BAD_REQUEST, "too dear")
        );
    }

    #[test]
    fn what_tells_of_the_inside_is_not_passed_on() {
        for code in [
            Code::Internal,
            Code::Unknown,
            Code::Unavailable,
            Code::DataLoss,
            Code::DeadlineExceeded,
        ] {
            let fault = Fault::of_call(&of_node(code, "password=hunter2", &[Any::default()]), &pool());
            assert!(
                !fault.message.contains("hunter2") && fault.details.is_empty(),
                "{fault:?}"
            );
        }
        // Made by the client, which names nodes and addresses.
        let own = Status::not_found("`shop-1` of `shop` at 10.0.0.7:9090");
        assert!(!Fault::of_call(&own, &pool()).message.contains("10.0.0.7"));
    }

    #[test]
    fn the_time_to_wait_is_told_in_whole_seconds() {
        let mut status = of_node(Code::ResourceExhausted, "full", &[]);
        status.metadata_mut().insert(PUSHBACK, "1001".parse().unwrap());
        let response = Fault::of_call(&status, &pool()).into_response(&RequestId::of(None));
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn every_code_has_the_status_of_the_table() {
        let expected = [
            200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
        ];
        for (code, status) in (0..).zip(expected) {
            assert_eq!(http_status(Code::from_i32(code)), status, "{code}");
        }
    }
}
