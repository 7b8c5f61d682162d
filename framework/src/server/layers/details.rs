//! The details of a status: `google.rpc.Status`, as the header `grpc-status-details-bin` carries it.

use http::{HeaderMap, HeaderName};
use prost::Message;
use prost_types::Any;
use tonic::metadata::MetadataMap;

const DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}

/// Takes the details out of `headers`; what is none is left out, as it would be by whoever reads it.
pub(super) fn take(headers: &mut HeaderMap) -> Vec<Any> {
    let Some(value) = headers.remove(DETAILS) else {
        return Vec::new();
    };
    let encoded = HeaderMap::from_iter([(DETAILS, value)]);
    MetadataMap::from_headers(encoded)
        .get_bin(DETAILS.as_str())
        .and_then(|value| value.to_bytes().ok())
        .and_then(|bytes| RpcStatus::decode(bytes).ok())
        .map(|status| status.details)
        .unwrap_or_default()
}
