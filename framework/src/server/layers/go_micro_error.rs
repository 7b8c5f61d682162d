//! An error as Go Micro's callers read it: JSON in the message, and an `errors.Error` before all other details.

use http::{HeaderMap, StatusCode};
use prost::Message;
use prost_types::Any;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use super::details::{self, RpcStatus};

/// What Go Micro knows its own error by, among the details of a status.
const TYPE_URL: &str = "type.googleapis.com/errors.Error";

/// `errors.Error` of Go Micro, and the JSON that it is in a message.
#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default)]
struct Error {
    /// Who says so: here, the service.
    #[prost(string, tag = "1")]
    id: String,
    /// HTTP's code.
    #[prost(int32, tag = "2")]
    code: i32,
    /// The text.
    #[prost(string, tag = "3")]
    detail: String,
    /// HTTP's words for its code.
    #[prost(string, tag = "4")]
    status: String,
}

/// Rewrites the error that `headers` carry, if they do: one of the service `name`.
///
/// A handler may have written Go Micro's form itself; it stays.
pub(super) fn write(headers: &mut HeaderMap, name: &str) {
    let Some(code) = headers.get(Status::GRPC_STATUS) else {
        return;
    };
    if Code::from_bytes(code.as_bytes()) == Code::Ok {
        return;
    }
    let details = details::take(headers);
    let Some(status) = Status::from_header_map(headers) else {
        return;
    };
    let error = error_of(&status, name);
    let message = serde_json::to_string(&error).expect("texts and a number are JSON");
    let is_there = details.first().is_some_and(|detail| detail.type_url == TYPE_URL);
    let first = (!is_there).then(|| Any {
        type_url: TYPE_URL.to_owned(),
        value: error.encode_to_vec(),
    });
    let details = RpcStatus {
        code: status.code() as i32,
        message: message.clone(),
        details: first.into_iter().chain(details).collect(),
    };
    let written = Status::with_details(status.code(), message, details.encode_to_vec().into());
    // Percent-encoded and base64: both are header values.
    let _ = written.add_header(headers);
}

fn error_of(status: &Status, name: &str) -> Error {
    if let Ok(error) = serde_json::from_str::<Error>(status.message())
        && error.code > 0
    {
        return error;
    }
    let code = http_code(status.code());
    Error {
        id: name.to_owned(),
        code: code.as_u16().into(),
        detail: status.message().to_owned(),
        status: code.canonical_reason().unwrap_or_default().to_owned(),
    }
}

/// Go Micro's own table; what it does not have, as `google.rpc.Code` says.
fn http_code(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::DeadlineExceeded => StatusCode::REQUEST_TIMEOUT,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::FailedPrecondition => StatusCode::PRECONDITION_FAILED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_go_micros_own_table() {
        for (grpc, http) in [
            (3, 400),
            (16, 401),
            (7, 403),
            (5, 404),
            (4, 408),
            (6, 409),
            (9, 412),
            (13, 500),
            (12, 501),
            (14, 503),
        ] {
            assert_eq!(http_code(Code::from_i32(grpc)).as_u16(), http, "{grpc}");
        }
        for grpc in 1..=16 {
            let http = http_code(Code::from_i32(grpc));
            // Go Micro's clients send what is 408 again.
            assert_eq!(http == StatusCode::REQUEST_TIMEOUT, grpc == 4, "{grpc}");
            assert!(http.is_client_error() || http.is_server_error(), "{grpc}");
        }
    }

    #[test]
    fn what_a_handler_wrote_in_go_micros_form_stays() {
        let own = r#"{"id":"orders","code":418,"detail":"no coffee","status":"I'm a teapot"}"#;
        let mut headers = HeaderMap::new();
        Status::unknown(own).add_header(&mut headers).unwrap();
        let mut last = Vec::new();
        for _ in 0..2 {
            write(&mut headers, "greeter");
            let status = Status::from_header_map(&headers).unwrap();
            assert_eq!((status.code(), status.message()), (Code::Unknown, own));
            let details = RpcStatus::decode(status.details()).unwrap().details;
            let [only] = details.as_slice() else {
                panic!("{details:?}");
            };
            let error = Error::decode(&only.value[..]).unwrap();
            assert_eq!((error.id.as_str(), error.code), ("orders", 418));
            last.push(details);
        }
        assert_eq!(last[0], last[1], "what has a detail gets no second one");
    }
}
