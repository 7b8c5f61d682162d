//! gRPC without generated code: asks a server what it offers, and calls it with the canonical JSON of protobuf.
//!
//! What the command and the gateway have in common. Types of prost-reflect are part of its surface: it is made for them.

mod catalog;
mod codec;
mod comments;
mod example;
#[cfg(feature = "fake")]
pub mod fake;
mod invoke;
mod json;
mod reflection;
#[cfg(test)]
mod tests;
mod text;
mod unknown;

use bytes::Bytes;
use tonic::{body::Body, client::GrpcService};

pub use self::{
    catalog::{Catalog, MethodError},
    codec::{DynamicCodec, DynamicDecoder, DynamicEncoder},
    comments::Comments,
    example::example,
    invoke::{invoke, invoke_streaming},
    json::{JsonError, from_json, to_json},
    reflection::reflect,
    text::invoke_json,
};

/// What generated stubs ask of a channel, in one word.
pub trait Transport:
    GrpcService<
        Body,
        ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>> + Send + 'static,
    > + Clone
{
}

impl<T> Transport for T where
    T: GrpcService<
            Body,
            ResponseBody: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>>
                              + Send
                              + 'static,
        > + Clone
{
}
